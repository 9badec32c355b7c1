"""Which trials end early: Optuna's pruner decides, and the decision is kept in the study's database."""

from __future__ import annotations

import optuna

from platform.plan import Plan

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
