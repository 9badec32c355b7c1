"""What Tune calls while it runs: four thin classes that keep nothing and pass everything on to the study's trials.

Tune writes its parts to files that are never read here, so each of them pickles to nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from platform.room import needs_room
from platform.trials import Trials
from shards_tools.errors import Error

Answer = TypeVar("Answer")


def asked(trials: Trials, call: Callable[[], Answer], otherwise: Answer) -> Answer:
    """The answer of `call`; an Error ends the start in good order, and from there on the answer is `otherwise`.

    Tune would make a traceback of it, or log it and go on.
    """
    if trials.failure is None:
        try:
            with needs_room(trials.runs):
                return call()
        except Error as failure:
            trials.failure = failure
    return otherwise


class StudySearcher(Searcher):
    """What Tune asks for trials, and tells how each ended."""

    def __init__(self, trials: Trials) -> None:
        super().__init__()
        self._trials = trials

    def suggest(self, trial_id: str) -> Any:
        """The next attempt's config, None where there is none now, FINISHED where there will be none."""
        if asked(self._trials, lambda: self._trials.done, True):
            return Searcher.FINISHED
        return asked(self._trials, lambda: self._trials.start(trial_id), None)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        asked(self._trials, lambda: self._trials.finish(trial_id, died=error), None)

    def save(self, checkpoint_path: str) -> None:
        """Tune asks for a file; nothing is ever read from it."""
        open(checkpoint_path, "wb").close()

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("Studies resume with a new tune.Tuner; Tuner.restore is not used.")

    def __getstate__(self) -> dict[str, Any]:
        return {}


class StudyScheduler(FIFOScheduler):
    """Hands every report to the study's trials, and stops the attempts that they say are over."""

    def __init__(self, trials: Trials) -> None:
        super().__init__()
        self._trials = trials

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        goes_on = asked(self._trials, lambda: self._trials.report(trial.trial_id, result), False)
        if "kept_at" in result:  # in a bucket, of which Tune knows nothing
            asked(self._trials, lambda: self._trials.checkpoint(trial.trial_id, result["kept_at"]), None)
        return TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP

    def __getstate__(self) -> dict[str, Any]:
        return {}


class KeepCheckpoint(tune.Callback):
    """Tells the study where the newest checkpoint of a trial lies."""

    def __init__(self, trials: Trials) -> None:
        self._trials = trials

    def on_checkpoint(self, iteration: int, trials: list[Any], trial: Any, checkpoint: Any, **_: Any) -> None:
        asked(self._trials, lambda: self._trials.checkpoint(trial.trial_id, checkpoint.path), None)

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
        return self._trials.ends_now

    def __getstate__(self) -> dict[str, Any]:
        return {}
