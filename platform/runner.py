"""Runs one start of a search: resolve the configuration, open the study, train what is missing, summarize."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.trial import TrialState

from platform.cluster.connect import address_of_job, joined
from platform.cluster.shared_storage import prove_bucket, prove_shared
from platform.config import AUTO, SearchConfig
from platform.execution import cluster_when_needed
from platform.failures import Failures
from platform.finalize.after_search import AfterSearch
from platform.resolve import resolve_search
from platform.resolved_search import ResolvedSearch
from platform.resources import Machine, this_machine
from platform.start import opened_study, recorded_start, run_start, tracked
from platform.study import num_finished
from platform.summary import next_steps, study_event, summary
from platform.terminal.lines import print_header, print_summary
from platform.terminal.live import screen_of_search
from platform.tracking.events import rebuild
from platform.tracking.tracker import Tracker
from platform.trials import Trials
from platform.warm_start import earlier_settings, enqueue_settings
from shards_tools.command import show_log
from shards_tools.errors import Error


@dataclass(frozen=True, kw_only=True)
class Start:
    """The result of one start of a search."""

    summary: dict[str, Any]  # the JSON of the command; of a dry run, its estimate
    interrupted: bool = False  # by Ctrl-C or SIGTERM
    failures: Failures | None = None
    without_final: Error | None = None  # why --final-train has no result

    def raise_if_stopped(self) -> None:
        """Raise what ended the start early.

        Raises:
            KeyboardInterrupt: it was interrupted; running trials resume on the next start.
            Error: too many trials in a row failed, or the final training did.
        """
        if self.interrupted:
            raise KeyboardInterrupt
        if self.failures:
            self.failures.raise_if_too_many()
        if self.without_final:
            raise self.without_final


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
        search = _resolve(config, nodes, machines, command)
        if config.dry_run:
            from platform.preflight.dry_run import dry_run  # imports torch

            return Start(summary=dry_run(search, machines))
        return _run(search, started)


def _resolve(
    config: SearchConfig, nodes: Sequence[Machine], machines: Sequence[Machine], command: str
) -> ResolvedSearch:
    """Resolve the configuration, after checking that all nodes share the folders or the bucket."""
    search = resolve_search(config, nodes, command)
    if search.stores.checkpoints:
        prove_bucket(search.stores.checkpoints)
    if nodes:
        prove_shared(search.stores, search.setup.manifest)
    if config.concurrency == AUTO:
        from platform.preflight.concurrency import fit_to_memory  # imports torch

        shares_gpus = not config.gpus_per_trial
        resources = fit_to_memory(search, machines, shares_gpus=shares_gpus, remembers=not config.dry_run)
        return replace(search, resources=resources)
    return search


def _run(search: ResolvedSearch, started: float) -> Start:
    settings = earlier_settings(search.method, search.setup, search.stores)
    with opened_study(search) as (study, storage, journal):
        enqueue_settings(study, settings)
        rebuild(study, search.setup, search.method, journal)
        with tracked(search, journal) as tracker:
            after = AfterSearch(study, search, storage, journal)
            trials = Trials(study, search, journal, screen_of_search(study, search))
            storage.interrupted = lambda: trials.interrupted
            with cluster_when_needed(search.resources.num_cpus) as start_ray:
                start = recorded_start(study, search, start_ray)
                if not trials.done:
                    _train(search, trials, tracker, start)
                if trials.over:
                    after.run(start)
            ran = after.ran or trials
            event = study_event(study, search, over=ran.over, final=after.final_models())
            journal.append("study", **event, time=time.time())
    print_summary(study, search.goal, after.tables(), [*next_steps(study, search, tracker), *after.lines()])
    return Start(
        summary={
            **summary(study, search, tracker, time.monotonic() - started),
            **after.as_json(),
            "final": after.final_as_json(tracker),
        },
        interrupted=ran.interrupted,
        failures=ran.failed,
        without_final=after.failure,
    )


def _train(search: ResolvedSearch, trials: Trials, tracker: Tracker, start: Callable[[], None]) -> None:
    """Run the remaining trials."""
    study = trials.study
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    print_header(search, num_finished(study), len(running))
    run_start(trials, tracker, start, search.budget.hours)
