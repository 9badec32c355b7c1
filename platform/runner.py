"""Runs one start of a search: resolve the configuration, open the study, train what is missing, summarize."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import TrialState

from platform.cluster.connect import address_of_job, joined
from platform.cluster.shared_storage import prove_bucket, prove_shared
from platform.config import AUTO, SearchConfig
from platform.execution import cluster_when_needed
from platform.failures import Failures
from platform.finalize.after_search import AfterSearch
from platform.free_disk import refuse_full_disk
from platform.lock import only_driver
from platform.plan import Plan
from platform.resolve import make_plan
from platform.resources import Machine, this_machine
from platform.start import recorded_start, run_start, tracked
from platform.study import num_finished, open_storage, open_study
from platform.summary import next_steps, study_event, summary
from platform.terminal.lines import print_header, print_summary
from platform.terminal.live import screen_of_search
from platform.tracking.journal import Journal
from platform.tracking.mlflow_sink import Tracker
from platform.tracking.rebuild import rebuild
from platform.trials import Trials
from platform.warm_start import earlier_settings, enqueue_settings
from shards_tools.command import show_log


@dataclass(frozen=True, kw_only=True)
class Start:
    """The result of one start of a search."""

    summary: dict[str, Any]  # the JSON of the command; of a dry run, its estimate
    interrupted: bool = False  # by Ctrl-C or SIGTERM
    failures: Failures | None = None

    def raise_if_stopped(self) -> None:
        """Raise what ended the start early.

        Raises:
            KeyboardInterrupt: it was interrupted; running trials resume on the next start.
            Error: too many trials in a row failed.
        """
        if self.interrupted:
            raise KeyboardInterrupt
        if self.failures:
            self.failures.raise_if_too_many()


def run_search(config: SearchConfig, command: str) -> Start:
    """Start or resume a search, or print the results of a finished one.

    Args:
        config: the options of the search.
        command: the command as it was typed or called, for the study, MLflow and the report.

    Raises:
        Error: the search cannot run as configured.
    """
    started = time.monotonic()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    show_log("shards_tools")
    with joined(config.address or address_of_job()) as nodes:
        machines = nodes or [this_machine()]
        plan = _checked_plan(config, nodes, machines, command)
        if config.dry_run:
            from platform.preflight.dry_run import dry_run  # imports torch

            return Start(summary=dry_run(plan, machines))
        return _run(plan, started)


def _checked_plan(config: SearchConfig, nodes: Sequence[Machine], machines: Sequence[Machine], command: str) -> Plan:
    """Return the plan, after checking that all nodes share the folders or the bucket."""
    plan = make_plan(config, nodes, command)
    if plan.checkpoints:
        prove_bucket(plan.checkpoints)
    if nodes:
        prove_shared(plan)
    if config.concurrency == AUTO:
        from platform.preflight.concurrency import fit_to_memory  # imports torch

        plan = fit_to_memory(plan, machines, shares_gpus=not config.gpus_per_trial, remembers=not config.dry_run)
    return plan


def _run(plan: Plan, started: float) -> Start:
    settings = earlier_settings(plan)
    storage = open_storage(plan.storage)
    with (
        refuse_full_disk(plan.runs),
        only_driver(plan, storage),
        Journal(plan.folder / "journal.jsonl") as journal,
    ):
        study = open_study(plan, storage)
        enqueue_settings(study, settings)
        rebuild(study, plan, journal)
        with tracked(plan, journal) as tracker:
            after = AfterSearch(study, plan, storage, journal)
            trials = Trials(study, plan, journal, screen_of_search(study, plan))
            storage.interrupted = lambda: trials.interrupted
            with cluster_when_needed(plan) as start_ray:
                start = recorded_start(study, plan, start_ray)
                if not trials.done:
                    _train(study, plan, trials, tracker, start)
                if trials.over:
                    after.run(start)
            ran = after.ran or trials
            journal.append("study", **study_event(study, plan, over=ran.over), time=time.time())
    print_summary(study, plan, after.tables(), next_steps(study, plan, tracker))
    return Start(
        summary={**summary(study, plan, tracker, time.monotonic() - started), **after.as_json()},
        interrupted=ran.interrupted,
        failures=ran.failed,
    )


def _train(study: optuna.Study, plan: Plan, trials: Trials, tracker: Tracker, start: Callable[[], None]) -> None:
    """Run the remaining trials."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    print_header(plan, num_finished(study), len(running))
    run_start(study, plan, trials, tracker, start)
