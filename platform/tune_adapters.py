"""Adapters from Tune to the study's trials: a searcher, a scheduler, a checkpoint callback and a stopper.

They hold no state of their own. Tune pickles them to files that are never read here, so each pickles to an empty dict.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from platform.failures import refuse_full_disk
from platform.trials import Trials
from shards_tools.command import say
from shards_tools.errors import Error
from trainables.training.trial_report import EarlyEnd, from_result

Answer = TypeVar("Answer")


def call_or_stop(trials: Trials, call: Callable[[], Answer], otherwise: Answer) -> Answer:
    """Return `call()`; if it raises an Error, end this start cleanly and return `otherwise` from then on.

    The Error is kept in `trials.failure`. Tune itself would print a traceback, or log the Error and continue.
    """
    if trials.failure is None:
        try:
            with refuse_full_disk(trials.stores.runs), suppress(UpdateFinishedTrialError):
                # Suppressed if another program ends the trial meanwhile: `finish` finds that.
                return call()
        except Error as failure:
            trials.failure = failure
        except KeyError:  # Optuna's error for a record that is not there
            if trials.study.study_name in optuna.get_all_study_names(trials.study._storage):
                raise
            trials.failure = Error(
                f"Study {trials.study.study_name} was deleted from Optuna's database while this search ran. Start"
                " another study with --study NAME."
            )
    return otherwise


class StudySearcher(Searcher):
    """Passes the study's next attempts to Tune, and their ends to the study."""

    def __init__(self, trials: Trials) -> None:
        super().__init__()
        self._trials = trials

    def suggest(self, trial_id: str) -> Any:
        """Return the config of the next attempt, None if there is none yet, or FINISHED if there will be no more."""
        if call_or_stop(self._trials, lambda: self._trials.done, True):
            return Searcher.FINISHED
        return call_or_stop(self._trials, lambda: self._trials.start(trial_id), None)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        call_or_stop(self._trials, lambda: self._trials.finish(trial_id, died=error), None)

    def save(self, checkpoint_path: str) -> None:
        """Create the empty file that Tune expects; it is never read."""
        open(checkpoint_path, "wb").close()

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("Studies resume with a new tune.Tuner; Tuner.restore is not used.")

    def __getstate__(self) -> dict[str, Any]:
        return {}


class StudyScheduler(FIFOScheduler):
    """Passes every report to the study's trials, and stops the attempts that they end."""

    def __init__(self, trials: Trials) -> None:
        super().__init__()
        self._trials = trials

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        report = from_result(result)
        if isinstance(report, EarlyEnd):
            call_or_stop(self._trials, lambda: self._trials.end_early(trial.trial_id, report), None)
            # Raises ProcessSpent there, so that Tune replaces the process. A stopped trial's process would be reused.
            return TrialScheduler.CONTINUE if self._trials.failure is None else TrialScheduler.STOP
        if report.notice:
            say(f"trial {trial.config['trial']}: {report.notice}")
        continues = call_or_stop(self._trials, lambda: self._trials.report(trial.trial_id, report), False)
        if report.kept_at:  # in a bucket; Tune does not know about these checkpoints
            call_or_stop(self._trials, lambda: self._trials.checkpoint(trial.trial_id, report.kept_at), None)
        return TrialScheduler.CONTINUE if continues else TrialScheduler.STOP

    def __getstate__(self) -> dict[str, Any]:
        return {}


class KeepCheckpoint(tune.Callback):
    """Records the path of a trial's newest checkpoint in the study."""

    def __init__(self, trials: Trials) -> None:
        self._trials = trials

    def on_checkpoint(self, iteration: int, trials: list[Any], trial: Any, checkpoint: Any, **_: Any) -> None:
        call_or_stop(self._trials, lambda: self._trials.checkpoint(trial.trial_id, checkpoint.path), None)

    def __getstate__(self) -> dict[str, Any]:
        return {}


class ForgetErrors(tune.Callback):
    """Keeps Tune from reading the errors of trials back at the end: on a full disk their files are empty."""

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        trial.run_metadata.error_filename = trial.run_metadata.pickled_error_filename = None

    def __getstate__(self) -> dict[str, Any]:
        return {}


class EndOfStart(Stopper):
    """Stops Tune when the hours of this start are used up, or when the trials end it."""

    def __init__(self, trials: Trials, hours: float | None) -> None:
        self._trials = trials
        self._deadline = time.monotonic() + hours * 3600 if hours else None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        if self._deadline and time.monotonic() > self._deadline:
            self._trials.out_of_time = True
        return self._trials.ends_now

    def __getstate__(self) -> dict[str, Any]:
        return {}
