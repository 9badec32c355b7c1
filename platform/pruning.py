"""Optuna's pruners as Tune's scheduler: every decision is made and kept in the study's database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import optuna
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

if TYPE_CHECKING:
    from platform.plan import Plan
    from platform.trials import Trials

REDUCTION_FACTOR = 3  # of successive halving: the best third of a rung goes on; Li et al. 2020 (ASHA), section 3.2
NUM_RUNGS = 2


def make_pruner(plan: Plan) -> optuna.pruners.BasePruner:
    """Successive halving with two rungs before the last epoch, the first at a ninth of the epochs, but not before 2.

    Rungs lie behind the warm-up (a tenth of the epochs at most), where losses of metric learning say little yet.
    """
    first_rung = max(2, -(-plan.longest_epochs // REDUCTION_FACTOR**NUM_RUNGS))
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=first_rung, reduction_factor=REDUCTION_FACTOR)


def should_stop(trial: optuna.Trial, step: int, last_step: int) -> bool:
    """Whether the study's pruner ends `trial` at `step`, which it has just reported.

    Nobody is asked at the last step: a trial that ran to the end is complete. A baseline is asked until the first
    "prune" and not any more: it runs to the end, and fills no rung that it did not earn.
    """
    if step >= last_step or "spared_at" in trial.user_attrs or not trial.should_prune():
        return False
    if "baseline" in trial.user_attrs:
        trial.set_user_attr("spared_at", step)
        return False
    trial.set_user_attr("pruned_at", step)
    return True


class StudyScheduler(FIFOScheduler):
    """Hands every report to the study's trials, and stops the attempts that they say are over."""

    def __init__(self, trials: Trials) -> None:
        super().__init__()
        self._trials = trials

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        goes_on = self._trials.report(trial.trial_id, result)
        return TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune writes its parts to a file that is never read."""
        return {}
