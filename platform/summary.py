"""Summaries of a study: the JSON of the search, the lines under its table, and its run in MLflow."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from platform.budgets import budget_met
from platform.plan import Plan
from platform.resilient_storage import without_password
from platform.spaces.constraints import is_over
from platform.study import chosen_trial, front
from platform.tracking.descriptions import NOTE, study_note
from platform.tracking.mlflow_sink import Tracker
from platform.trial_record import TrialRecord


def study_event(study: optuna.Study, plan: Plan, *, over: bool) -> dict[str, Any]:
    """Return the event for the study's run in MLflow: its state and, if the search is over, its models."""
    best = chosen_trial(study)
    tags = {**counts(study), NOTE: study_note(study, plan)}
    chance = {f"chance_{name}": plan.chance[name] for name in plan.objectives if name in plan.chance}
    if best is None:
        return {"trial": None, "checkpoint": None, "tags": tags, "metrics": chance, "models": []}
    models = []
    if over:
        from platform.best_models import models_of  # imports torch, which a search needs only at its end

        models = models_of(study, plan)
    return {
        "trial": best.number,
        "checkpoint": TrialRecord(best).checkpoint,
        "tags": {**tags, "best_trial": best.number, **front_tag(study)},
        "metrics": {**chance, **{f"best_{key}": value for key, value in TrialRecord(best).metrics.items()}},
        "models": models,
    }


def front_tag(study: optuna.Study) -> dict[str, str]:
    """Return, with several objectives, a tag with the numbers of the trials on the Pareto front."""
    several = len(study.directions) > 1
    return {"front": " ".join(str(trial.number) for trial in front(study))} if several else {}


def counts(study: optuna.Study) -> dict[str, int]:
    """Return the number of trials that ended in each state."""
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    return {
        "complete": states.count(TrialState.COMPLETE),
        "pruned": states.count(TrialState.PRUNED),
        "failed": states.count(TrialState.FAIL),
    }


def summary(study: optuna.Study, plan: Plan, tracker: Tracker, seconds: float) -> dict[str, Any]:
    """Return the JSON of the command."""
    best = chosen_trial(study)
    chance = [plan.chance.get(name) for name in plan.objectives]
    several = len(plan.objectives) > 1
    return {
        "study": plan.study,
        "scale": plan.scale,
        "data": str(plan.data),
        "objective": list(plan.objectives) if several else plan.objective,
        "chance": chance if several else chance[0],
        "best": best and found(best, tracker),
        **({"front": [found(trial, tracker) for trial in front(study)]} if several else {}),
        "trials": counts(study),
        "tracking_uri": without_password(plan.tracking),
        "storage": without_password(plan.storage),
        "seconds": round(seconds, 1),
    }


def found(trial: FrozenTrial, tracker: Tracker) -> dict[str, Any]:
    """Return a trial's entry in the JSON: `value` is the first objective; with several, `values` has all of them."""
    return {
        "trial": trial.number,
        "value": trial.values[0],
        **({"values": trial.values} if len(trial.values) > 1 else {}),
        "params": trial.params,
        "checkpoint": TrialRecord(trial).checkpoint,
        "mlflow_run_id": tracker.run_id(trial.number),
    }


def next_steps(study: optuna.Study, plan: Plan, tracker: Tracker) -> list[str]:
    """Return the lines under the table: the remaining work, and the commands that show more of the results."""
    number = counts(study)
    over = sum(is_over(trial) for trial in study.get_trials(deepcopy=False))
    limited = f" {over} of them were over --at-most {plan.identity()['at-most']}." if over else ""
    lines = [f"{number['complete']} complete, {number['pruned']} pruned, {number['failed']} failed.{limited}"]
    running = len(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))
    if running:
        lines.append(f"Trials left running: {running}. Run the same command again to resume them.")
    if tracker.unsent:
        lines.append(
            f"MLflow has not taken everything ({tracker.trouble}). Run the same command again to send the rest."
        )
    met = budget_met(study, plan)
    if met:
        lines.append(f"{met[0].upper()}{met[1:]}. Raise the limit and run the command again to continue.")
    best = chosen_trial(study)
    if best:
        what = f"Best weights by {plan.objective}" if len(plan.objectives) > 1 else "Best weights"
        lines.append(f"{what}: {TrialRecord(best).checkpoint}")
        lines.append(f"Evaluate:     python -m platform.evaluate {TrialRecord(best).checkpoint} --data {plan.data}")
    lines.append(f"Compare runs: python -m platform.ui --runs {plan.runs}")
    own = plan.storage == f"sqlite:///{plan.runs / 'optuna.db'}"
    where = f"--runs {plan.runs}" + ("" if own else f" --storage {without_password(plan.storage)}")
    lines.append(f"Report:       python -m platform.report {plan.study} {where} --out report-{plan.study}")
    return lines
