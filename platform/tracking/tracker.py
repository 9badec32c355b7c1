"""Send the journal to MLflow from a thread: a parent run per study and a child run per trial.

A slow or unreachable server never delays the search: unsent events stay in the journal, and the next start sends them.
Every write is idempotent: runs are found by their tags, and MLflow stores metrics with the same key, step, value and
time once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from platform.run_paths import located
from platform.tracking.datasets import as_inputs
from platform.tracking.descriptions import NOTE, ended_note
from platform.tracking.journal import Event, Journal, Owner, SentOffset
from platform.tracking.model_registry import Registry
from platform.tracking.quiet_mlflow import cause_of, client_of, import_quietly
from platform.tracking.study_runs import STUDY_TAG, StudyRuns, find_runs, mark_best, own_id
from platform.tracking.trial_runs import RUN_STATUS, last_turn, metrics_of, params_of, tags_of
from platform.tracking.uploads import folder_of_uploads
from shards_tools.command import say
from shards_tools.errors import Error
from shards_tools.redaction import redact
from trainables.training.checkpoint_store import fetched, is_there

if TYPE_CHECKING:
    from mlflow import MlflowClient

# A read of the journal doubles after a quick send and halves after a slow one, between these sizes. The larger it is,
# the fewer calls a trial needs; but the offset is saved after each, so a start that ends repeats at most one of them.
FIRST_READ_BYTES = 2**18
MAX_READ_BYTES = 2**22  # a few thousand events, which take some 20 MB of memory
QUICK_SEND_S = 2.0
SLOW_SEND_S = 8.0
GATHER_S = 0.5  # wait after an event to batch the next ones with it: one call costs the same for one metric as for many
LONGEST_PAUSE_S = 10.0
LONGEST_PAUSE_AT_THE_END_S = 1.0  # during `close`, whose caller waits
INTERNAL_ERROR = "INTERNAL_ERROR"
SILENT_S = 10.0  # a longer wait is announced
LONGEST_UPLOAD_S = 600.0  # after the wait for the last events


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
        self.told = False  # whether the user knows of that error
        self._journal, self._uri, self._artifacts = journal, uri, artifacts
        self._study, self._params, self._tags, self._data = study, dict(params), dict(tags), list(data)
        self._runs = StudyRuns("")
        self._told_deleted = False
        self._imported, self._closing, self._uploading = threading.Event(), threading.Event(), threading.Event()
        self._packaging = threading.Lock()  # held while a model's folder is written, which imports; not for uploads
        self._gave_up = threading.Event()
        self._sent = SentOffset(journal.path.with_suffix(".sent.json"), redact(uri))
        self._offset = journal.valid_offset(self._sent.load())
        self._read_bytes = FIRST_READ_BYTES

    def run(self) -> None:
        store, pause_s = self._uri, 0.5
        client = None
        while not self._gave_up.is_set():
            try:
                if client is None:
                    client = self._connect()
                    self.ready.set()
                more = self._send(client)
                if self.told:
                    say(f"MLflow's store {store} answers again. It gets the queued events.")
                self.trouble, self.told, pause_s = "", False, 0.5
            except Exception as error:  # whatever the store raises must not stop the search
                reason = error if client is None else self._explained(client, error)
                if reason is None:
                    client = None
                    continue
                self.trouble, more = cause_of(reason), False
                if not self.told and not self._closing.is_set():  # at the end, the summary has it
                    outage = f"MLflow's store {store} does not answer ({self.trouble})."
                    outage = self.trouble if isinstance(reason, Error) else outage
                    say(f"{outage} Training continues; events are queued on disk.")
                    self.told = True
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
        return self._runs.trials.get(owner)

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
        self.join(min(timeout_s, SILENT_S))
        if self.is_alive() and timeout_s > SILENT_S:
            say(f"MLflow's store {self._uri} gets the last events, for {timeout_s:.0f} s at most.")
            self.join(timeout_s - SILENT_S)
            self._wait_for_upload()
        self._gave_up.set()
        with self._packaging:
            pass

    def _wait_for_upload(self) -> None:
        """Wait until an upload that has begun ends or fails; the next start would begin it again."""
        deadline = time.monotonic() + LONGEST_UPLOAD_S
        if self._uploading.is_set() and not self.trouble:
            say(f"The upload of checkpoints and models goes on, for {LONGEST_UPLOAD_S / 60:.0f} minutes at most.")
        while self._uploading.is_set() and not self.trouble and time.monotonic() < deadline:
            self.join(0.5)

    def _connect(self) -> MlflowClient:
        try:
            # If a response is lost, MLflow's own retry would create a run twice.
            import_quietly(MLFLOW_HTTP_REQUEST_MAX_RETRIES="0", MLFLOW_HTTP_REQUEST_TIMEOUT="30")
            from mlflow.entities import Param  # imported in the thread, so that the search does not wait for it
        finally:
            self._imported.set()
        client = client_of(self._uri)
        # For SQLite the default would be `mlruns` in the current folder; a server has its own artifact location.
        artifacts = None if self._uri.startswith("http") else self._artifacts
        self._runs = find_runs(client, self._study, self._tags.get(STUDY_TAG, ""), artifacts)
        if not self._runs.parent:
            self._runs.parent = self._create_parent(client)
            self._offset = 0  # a store that has lost the study gets everything again
        elif self._journal.owners_before(self._offset) - self._runs.trials.keys():
            self._offset = 0  # and so does one that has lost trials, such as one restored from a backup
        if not self._is_deleted(self._runs.parent, self._study):
            client.log_batch(self._runs.parent, params=[Param(key, str(value)) for key, value in self._params.items()])
            if self._data:
                client.log_inputs(self._runs.parent, as_inputs(self._data))
        return client

    def _create_parent(self, client: MlflowClient) -> str:
        run = client.create_run(self._runs.experiment, run_name=self._study, tags=self._tags)
        return own_id(run.info.run_id)

    def _explained(self, client: MlflowClient, refusal: Exception) -> Exception | None:
        """Return why a call failed: None if the user has deleted runs, after which the store can be asked again."""
        if getattr(refusal, "error_code", INTERNAL_ERROR) == INTERNAL_ERROR:  # MLflow's code for a lost connection
            return refusal
        try:
            now = find_runs(client, self._study, self._tags.get(STUDY_TAG, ""), None)
        except Exception as failure:
            return failure
        gone = self._runs.trials.keys() - now.trials.keys()
        return None if gone or not now.parent or now.deleted - self._runs.deleted else refusal

    def _is_deleted(self, run_id: str, name: str) -> bool:
        """Return whether the user has deleted a run, and say once that deleted runs get no more events."""
        if run_id not in self._runs.deleted:
            return False
        if not self._told_deleted:
            self._told_deleted = True
            say(f"In MLflow, the run {name} was deleted. Deleted runs of this study get no events; all others do.")
        return True

    def _send(self, client: MlflowClient) -> bool:
        """Send the next events and return whether there may be more."""
        begun = time.monotonic()
        events, offset = self._journal.read(self._offset, self._read_bytes)
        by_trial: dict[Owner, list[Event]] = {}
        for event in events:
            if event["kind"] != "study":
                by_trial.setdefault(event["trial"], []).append(event)
                continue
            self._send_trials(client, by_trial)
            by_trial = {}
            self._uploading.set()
            self._send_study(client, event)
        self._send_trials(client, by_trial)
        is_new = offset > self._offset  # also by damaged lines, which have no events
        if is_new:
            self._sent.save(offset)
            self._offset = offset
            self._read_bytes = next_read_bytes(self._read_bytes, time.monotonic() - begun)
        self._uploading.clear()
        return is_new

    def _send_trials(self, client: MlflowClient, by_trial: dict[Owner, list[Event]]) -> None:
        for trial, events in by_trial.items():
            self._send_trial(client, trial, events)

    def _send_trial(self, client: MlflowClient, trial: Owner, events: list[Event]) -> None:
        """Send events of one trial: a new run with its tags, metrics and parameters in one call, then the status."""
        from mlflow.entities import RunTag

        is_new = trial not in self._runs.trials
        if not is_new and self._is_deleted(self._runs.trials[trial], f"of trial {trial}"):
            return
        tags, turn = tags_of(events), last_turn(events)
        if any(event["kind"] == "end" for event in events):
            known = tags.get(NOTE, "")
            if not known and not is_new:
                known = client.get_run(self._runs.trials[trial]).data.tags.get(NOTE, "")
            tags[NOTE] = ended_note(known, tags["state"], tags.get("reason", ""))
        if is_new:
            start = next(event for event in events if event["kind"] == "trial")
            self._runs.trials[trial] = self._create_run(client, start, tags)
        run_id = self._runs.trials[trial]
        client.log_batch(  # the client splits what exceeds MLflow's limits for one call
            run_id,
            metrics=metrics_of(events),
            params=params_of(events),
            tags=[] if is_new else [RunTag(key, value) for key, value in tags.items()],
        )
        if turn and turn["kind"] == "end":
            client.set_terminated(run_id, RUN_STATUS[turn["state"]], round(turn["time"] * 1000))
        elif turn and not is_new:
            client.update_run(run_id, status="RUNNING")

    def _create_run(self, client: MlflowClient, event: Event, tags: dict[str, str]) -> str:
        """Create the run of a trial together with its tags, so that an interruption cannot leave a run without them."""
        run = client.create_run(
            self._runs.experiment,
            run_name=event["name"],
            start_time=round(event["time"] * 1000),
            tags={"mlflow.parentRunId": self._runs.parent, **tags},
        )
        return own_id(run.info.run_id)

    def _send_study(self, client: MlflowClient, event: Event) -> None:
        """Send the state of the study to the parent run, upload the best checkpoint, and register models."""
        from mlflow.entities import Metric, RunTag

        now = round(event["time"] * 1000)
        parent, best = self._runs.parent, event["trial"]
        has_parent = not self._is_deleted(parent, self._study)
        if has_parent:
            client.log_batch(
                parent,
                metrics=[Metric(key, value, now, 0) for key, value in event["metrics"].items()],
                tags=[RunTag(key, str(value)) for key, value in event["tags"].items()],
            )
        with folder_of_uploads(self._journal.path.parent) as uploads:
            if best is not None and not self._is_deleted(self._runs.trials[best], f"of trial {best}"):
                mark_best(client, self._runs, best)
                place = located(event["checkpoint"] or "")
                if place and is_there(place):
                    with fetched(place, beside=uploads) as checkpoint:
                        client.log_artifacts(self._runs.trials[best], str(checkpoint), "checkpoint")
            registry = Registry(client, self._runs.experiment, self._study, self._packaging, uploads)
            for model in event.get("models", ()):
                if not self._is_deleted(run_id := self._runs.trials[model["trial"]], f"of trial {model['trial']}"):
                    registry.register(model, run_id)
        if has_parent:
            client.set_terminated(parent, "FINISHED", now)


def next_read_bytes(size: int, seconds: float) -> int:
    """Return how much of the journal to read next, after a read of `size` bytes took `seconds` to send."""
    if seconds > SLOW_SEND_S:
        return max(size // 2, FIRST_READ_BYTES)
    return min(2 * size, MAX_READ_BYTES) if seconds < QUICK_SEND_S else size
