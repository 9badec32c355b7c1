"""What Tune calls while it runs: four thin classes that keep nothing and pass everything on to the study's trials.

Tune writes its parts to files that are never read here, so each of them pickles to nothing.
"""

from __future__ import annotations

import time
from typing import Any

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from platform.trials import Trials


class StudySearcher(Searcher):
    """What Tune asks for trials, and tells how each ended."""

    def __init__(self, trials: Trials) -> None:
        super().__init__()
        self._trials = trials

    def suggest(self, trial_id: str) -> Any:
        """The next attempt's config, None where there is none now, FINISHED where there will be none."""
        if self._trials.done:
            return Searcher.FINISHED
        return self._trials.start(trial_id)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self._trials.finish(trial_id, died=error)

    def save(self, checkpoint_path: str) -> None:
        """Tune asks for a file; nothing is ever read from it."""
        open(checkpoint_path, "wb").close()

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("A study is gone on with by a fresh Tuner, never by Tune's own snapshot.")

    def __getstate__(self) -> dict[str, Any]:
        return {}


class StudyScheduler(FIFOScheduler):
    """Hands every report to the study's trials, and stops the attempts that they say are over."""

    def __init__(self, trials: Trials) -> None:
        super().__init__()
        self._trials = trials

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        goes_on = self._trials.report(trial.trial_id, result)
        return TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP

    def __getstate__(self) -> dict[str, Any]:
        return {}


class KeepCheckpoint(tune.Callback):
    """Tells the study where the newest checkpoint of a trial lies."""

    def __init__(self, trials: Trials) -> None:
        self._trials = trials

    def on_checkpoint(self, iteration: int, trials: list[Any], trial: Any, checkpoint: Any, **_: Any) -> None:
        self._trials.checkpoint(trial.trial_id, checkpoint.path)

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Budget(Stopper):
    """Ends the run when the hours are over or somebody asked for it."""

    def __init__(self, trials: Trials, hours: float | None) -> None:
        self._trials = trials
        self._deadline = time.monotonic() + hours * 3600 if hours else None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        if self._deadline and time.monotonic() > self._deadline:
            self._trials.out_of_time = True
        return self._trials.stopping

    def __getstate__(self) -> dict[str, Any]:
        return {}
