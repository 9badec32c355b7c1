"""Send the journal to MLflow from a thread: a parent run per study and a child run per trial.

A slow or unreachable server never delays the search: unsent events stay in the journal, and the next start sends them.
Every write is idempotent: runs are found by their tags, and MLflow stores metrics with the same key, step, value and
time once.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from platform.tracking.datasets import as_inputs
from platform.tracking.descriptions import NOTE, ended_note
from platform.tracking.journal import Event, Journal, Owner, owner_of, tag_of
from platform.tracking.model_registry import Registry
from platform.tracking.quiet_mlflow import import_quietly
from shards_tools.command import say
from shards_tools.errors import MAX_REASON
from shards_tools.redaction import redact
from trainables.training.checkpoint_store import fetched, is_there

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

RUN_STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED", "RUNNING": "RUNNING"}
# MLflow's limits for one call are 100 parameters and 1,000 entities in total.
MAX_METRICS_PER_CALL = 800
MAX_PARAMS_PER_CALL = 100
MAX_EVENTS_AT_ONCE = 500
GATHER_S = 0.5  # wait after an event to batch the next ones with it: one call costs the same for one metric as for many
LONGEST_PAUSE_S = 10.0
LONGEST_PAUSE_AT_THE_END_S = 1.0  # during `close`, whose caller waits


class Tracker(threading.Thread):
    """A thread that sends the journal of one study to one MLflow store, starting where the last start stopped.

    Args:
        uri: the address of the MLflow store.
        artifacts: the folder for artifacts, unless the store is a server.
        params: parameters of the parent run, which are the same in every start.
        tags: tags of the parent run; only used when the run is created.
        data: the datasets of the study, from `data_of`.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        uri: str,
        artifacts: Path,
        study: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        data: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(name="mlflow", daemon=True)
        self.ready = threading.Event()  # set once the parent run exists in the store
        self.trouble = ""  # the last error of the store; empty if the last call succeeded
        self._journal, self._uri, self._artifacts = journal, uri, artifacts
        self._study, self._params, self._tags, self._data = study, dict(params), dict(tags), list(data)
        self._run_ids: dict[Owner, str] = {}
        self._parent = ""
        self._imported, self._closing = threading.Event(), threading.Event()
        self._packaging = threading.Lock()  # held while a model's folder is written, which imports; not for uploads
        self._gave_up = threading.Event()
        self._sent_file = journal.path.with_suffix(".sent.json")
        self._offset = self._load_offset()

    def run(self) -> None:
        store, told, pause_s = redact(self._uri), False, 0.5  # told: whether the user knows of an outage
        client = None
        while not self._gave_up.is_set():
            try:
                if client is None:
                    client = self._connect()
                    self.ready.set()
                more = self._send(client)
                if told:
                    say(f"MLflow's store {store} answers again. It gets the queued events.")
                self.trouble, told, pause_s = "", False, 0.5
            except Exception as error:  # whatever the store raises must not stop the search
                self.trouble, more = redact(f"{type(error).__name__}: {error}").splitlines()[0][:MAX_REASON], False
                if not told and not self._closing.is_set():  # at the end, the summary has it
                    outage = f"MLflow's store {store} does not answer ({self.trouble})"
                    say(f"{outage}. Training continues; events are queued on disk.")
                    told = True
                client = None  # reconnecting looks up what the store did before the error, so nothing is created twice
                longest_s = LONGEST_PAUSE_AT_THE_END_S if self._closing.is_set() else LONGEST_PAUSE_S
                pause_s = min(2 * pause_s, longest_s)
            if not more:
                if self._closing.is_set() and not self.unsent:
                    return
                self._journal.appended.wait(pause_s)
                self._closing.wait(GATHER_S)
                self._journal.appended.clear()
                if self.trouble:
                    (self._gave_up if self._closing.is_set() else self._closing).wait(pause_s)

    @property
    def unsent(self) -> int:
        """The number of bytes of the journal that are not sent yet."""
        return self._journal.size() - self._offset

    def run_id(self, owner: Owner) -> str | None:
        """Return the ID of the MLflow run of a trial or a final training, or None if it does not exist yet."""
        return self._run_ids.get(owner)

    @property
    def status(self) -> Literal["ok", "behind", "failed"]:
        """`ok`: the store has everything; `behind`: it lacks events; `failed`: the same, and its last call failed."""
        if not self.unsent:
            return "ok"
        return "failed" if self.trouble else "behind"

    def close(self, timeout_s: float) -> None:
        """Send the remaining events for at most `timeout_s` seconds, then stop the thread."""
        self._closing.set()
        self._journal.appended.set()
        self._imported.wait()  # exiting the interpreter in the middle of this import may crash it
        self.join(timeout_s)
        self._gave_up.set()
        with self._packaging:
            pass

    def _connect(self) -> MlflowClient:
        try:
            # If a response is lost, MLflow's own retry would create a run twice.
            import_quietly(MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
            from mlflow import MlflowClient  # imported in the thread, so that the search does not wait for it
            from mlflow.entities import Param, ViewType
        finally:
            self._imported.set()
        client = MlflowClient(tracking_uri=self._uri)
        experiment = client.get_experiment_by_name(self._study)
        if experiment is None:
            # For SQLite the default would be `mlruns` in the current folder; a server has its own artifact location.
            location = None if self._uri.startswith("http") else self._artifacts.as_uri()
            # With this kind, the UI opens on the training runs instead of the traces.
            kind = {"mlflow.experimentKind": "custom_model_development"}
            self._experiment = client.create_experiment(self._study, artifact_location=location, tags=kind)
        else:
            self._experiment = experiment.experiment_id
        runs: list[Run] = []
        token = None
        while True:
            page = client.search_runs([self._experiment], run_view_type=ViewType.ALL, page_token=token)
            runs += page
            token = page.token
            if not token:
                break
        ids = {owner_of(run.data.tags): run.info.run_id for run in runs}
        self._run_ids = {owner: run_id for owner, run_id in ids.items() if owner is not None}
        parents = [run.info.run_id for run in runs if owner_of(run.data.tags) is None]
        if parents:
            self._parent = parents[0]
        else:
            self._parent = self._create_parent(client)
            self._offset = 0  # a store that has lost the study gets everything again
        client.log_batch(self._parent, params=[Param(key, str(value)) for key, value in self._params.items()])
        if self._data:
            client.log_inputs(self._parent, as_inputs(self._data))
        return client

    def _create_parent(self, client: MlflowClient) -> str:
        run = client.create_run(self._experiment, run_name=self._study, tags=self._tags)
        run_id: str = run.info.run_id
        return run_id

    def _send(self, client: MlflowClient) -> bool:
        """Send the next events and return whether there may be more."""
        events, offset = self._journal.read(self._offset, MAX_EVENTS_AT_ONCE)
        by_trial: dict[Owner, list[Event]] = {}
        for event in events:
            if event["kind"] != "study":
                by_trial.setdefault(event["trial"], []).append(event)
                continue
            self._send_trials(client, by_trial)
            by_trial = {}
            self._send_study(client, event)
        self._send_trials(client, by_trial)
        if events:
            self._save_offset(offset)
        return bool(events)

    def _send_trials(self, client: MlflowClient, by_trial: dict[Owner, list[Event]]) -> None:
        for trial, events in by_trial.items():
            self._send_trial(client, trial, events)

    def _send_trial(self, client: MlflowClient, trial: Owner, events: list[Event]) -> None:
        """Send events of one trial: metrics, parameters and tags in one call if possible, then the run's status."""
        from mlflow.entities import Metric, Param, RunTag

        starts = [event for event in events if event["kind"] == "trial"]
        is_new = trial not in self._run_ids
        if is_new:
            self._run_ids[trial] = self._create_run(client, starts[0])
        run_id = self._run_ids[trial]
        tags = {key: value for event in events for key, value in _tags_of(event).items()}
        if "end" in (event["kind"] for event in events):
            known = tags.get(NOTE) or client.get_run(run_id).data.tags.get(NOTE, "")
            tags[NOTE] = ended_note(known, tags["state"], tags.get("reason", ""))
        # A restarted trial has two `trial` events with the same parameters; MLflow rejects duplicates within a call.
        settings = {key: str(value) for event in starts for key, value in event["params"].items()}
        params = [Param(key, value) for key, value in settings.items()]
        points = [
            Metric(key, value, round(event["time"] * 1000), event["step"])
            for event in events
            if event["kind"] == "metrics"
            for key, value in event["values"].items()
        ]
        client.log_batch(
            run_id,
            metrics=points[:MAX_METRICS_PER_CALL],
            params=params[:MAX_PARAMS_PER_CALL],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )
        for start in range(MAX_METRICS_PER_CALL, len(points), MAX_METRICS_PER_CALL):
            client.log_batch(run_id, metrics=points[start : start + MAX_METRICS_PER_CALL])
        for start in range(MAX_PARAMS_PER_CALL, len(params), MAX_PARAMS_PER_CALL):
            client.log_batch(run_id, params=params[start : start + MAX_PARAMS_PER_CALL])
        turns = [event for event in events if event["kind"] in ("trial", "end")]
        if turns and turns[-1]["kind"] == "end":
            client.set_terminated(run_id, RUN_STATUS[turns[-1]["state"]], round(turns[-1]["time"] * 1000))
        elif turns and not is_new:
            client.update_run(run_id, status="RUNNING")

    def _create_run(self, client: MlflowClient, event: Event) -> str:
        """Create the run of a trial together with its tags, so that an interruption cannot leave a run without them."""
        run = client.create_run(
            self._experiment,
            run_name=event["name"],
            start_time=round(event["time"] * 1000),
            tags={"mlflow.parentRunId": self._parent, **_tags_of(event)},
        )
        run_id: str = run.info.run_id
        return run_id

    def _send_study(self, client: MlflowClient, event: Event) -> None:
        """Send the state of the study to the parent run, upload the best checkpoint, and register models."""
        from mlflow.entities import Metric, RunTag

        now = round(event["time"] * 1000)
        client.log_batch(
            self._parent,
            metrics=[Metric(key, value, now, 0) for key, value in event["metrics"].items()],
            tags=[RunTag(key, str(value)) for key, value in event["tags"].items()],
        )
        if event["trial"] is not None:
            self._mark_best(client, self._run_ids[event["trial"]])
        if event["checkpoint"] and is_there(event["checkpoint"]):
            with fetched(event["checkpoint"]) as checkpoint:
                client.log_artifacts(self._run_ids[event["trial"]], str(checkpoint), "checkpoint")
        registry = Registry(client, self._experiment, self._study, self._packaging)
        for model in event.get("models", ()):
            registry.register(model, self._run_ids[model["trial"]])
        client.set_terminated(self._parent, "FINISHED", now)

    def _mark_best(self, client: MlflowClient, run_id: str) -> None:
        """Set the tag `best` on one run of the study and remove it from the others."""
        marked = client.search_runs([self._experiment], "tags.best = 'true'")
        for run in marked:
            if run.info.run_id != run_id:
                client.delete_tag(run.info.run_id, "best")
        client.set_tag(run_id, "best", "true")

    def _load_offset(self) -> int:
        """Return how many bytes of the journal this store has; 0 for a store at another address."""
        if not self._sent_file.exists():
            return 0
        sent: dict[str, Any] = json.loads(self._sent_file.read_text())
        return int(sent["offset"]) if sent["uri"] == redact(self._uri) else 0

    def _save_offset(self, offset: int) -> None:
        temporary = self._sent_file.with_suffix(".tmp")
        temporary.write_text(json.dumps({"uri": redact(self._uri), "offset": offset}))
        os.replace(temporary, self._sent_file)
        self._offset = offset


def _tags_of(event: Event) -> dict[str, str]:
    """Return the tags that an event of a trial sets on its run."""
    if event["kind"] == "trial":
        return {**dict([tag_of(event["trial"])]), "state": "RUNNING", **event["tags"]}
    if event["kind"] == "tag":
        return {event["key"]: event["value"]}
    if event["kind"] == "end":
        return {"state": event["state"], **({"reason": event["reason"]} if event["reason"] else {})}
    return {}
