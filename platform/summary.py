"""Summaries of a study: the JSON of the search, the lines under its table, and its run in MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from platform.resolved_search import ResolvedSearch
from platform.run_paths import stored_path
from platform.spaces.constraints import is_over
from platform.study import chosen_trial, front
from platform.terminal.lines import label
from platform.tracking.descriptions import NOTE, report_command, study_note
from platform.tracking.tracker import Tracker
from platform.trial_record import TrialRecord
from shards_tools.command import command_line
from shards_tools.redaction import redact


def study_event(
    study: optuna.Study, search: ResolvedSearch, *, over: bool, final: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """Return the event for the study's run in MLflow.

    Args:
        over: whether the search and the stages after it are over.
        final: the entry of `models` for the final training, if it is done.

    Returns:
        The best trial as `trial` (its number) and `checkpoint`, both None before a trial is complete; `metrics`: its
        own as `best_*` and those of random features as `chance_*`; `tags`: the state of the study; `models`: empty
        until the search is over.
    """
    best = chosen_trial(study)
    goal = search.goal
    tags = {**counts(study), NOTE: study_note(study, search)}
    chance = {f"chance_{name}": goal.chance[name] for name in goal.objectives if name in goal.chance}
    if best is None:
        return {"trial": None, "checkpoint": None, "tags": tags, "metrics": chance, "models": []}
    models = []
    if over:
        from platform.best_models import models_of  # imports torch, which a search needs only at its end

        models = [*models_of(study, search.setup, goal.objective), *final]
    return {
        "trial": best.number,
        "checkpoint": stored_path(TrialRecord(best).checkpoint),
        "tags": {**tags, "best_trial": best.number, **front_tag(study)},
        "metrics": {**chance, **{f"best_{key}": value for key, value in TrialRecord(best).metrics.items()}},
        "models": models,
    }


def front_tag(study: optuna.Study) -> dict[str, str]:
    """Return, with several objectives, a tag with the numbers of the trials on the Pareto front."""
    several = len(study.directions) > 1
    return {"front": " ".join(str(trial.number) for trial in front(study))} if several else {}


def counts(study: optuna.Study) -> dict[str, int]:
    """Return the number of trials that ended in each state, without those that were canceled before they started."""
    states = [trial.state for trial in study.get_trials(deepcopy=False) if not TrialRecord(trial).left_out]
    return {
        "complete": states.count(TrialState.COMPLETE),
        "pruned": states.count(TrialState.PRUNED),
        "failed": states.count(TrialState.FAIL),
    }


def summary(study: optuna.Study, search: ResolvedSearch, tracker: Tracker, seconds: float) -> dict[str, Any]:
    """Return the JSON of the command.

    Args:
        tracker: knows the MLflow run of each trial.
        seconds: how long this start took.

    Returns:
        `study`, `scale`, `data`, `objective`, `chance`, `best` (as `found`; None if no trial is complete), `trials`
        (state -> number), `tracking_uri`, `tracking` (see `Tracker.status`), `storage` and `seconds`. With several
        objectives, `objective` and `chance` are lists and `front` holds the trials of the Pareto front. Metrics are
        fractions.
    """
    best, goal, stores = chosen_trial(study), search.goal, search.stores
    chance = [goal.chance.get(name) for name in goal.objectives]
    several = len(goal.objectives) > 1
    return {
        "study": stores.study,
        "scale": search.setup.scale,
        "data": search.setup.data,
        "objective": list(goal.objectives) if several else goal.objective,
        "chance": chance if several else chance[0],
        "best": best and found(best, tracker),
        **({"front": [found(trial, tracker) for trial in front(study)]} if several else {}),
        "trials": counts(study),
        "tracking_uri": redact(stores.tracking),
        "tracking": tracker.status,
        "storage": redact(stores.storage),
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


def next_steps(study: optuna.Study, search: ResolvedSearch, tracker: Tracker) -> list[str]:
    """Return the lines under the table: the remaining work, and the commands that show more of the results."""
    number, goal, stores = counts(study), search.goal, search.stores
    over = sum(is_over(trial) for trial in study.get_trials(deepcopy=False))
    limited = f" {over} of them were over --at-most {goal.limits}." if over else ""
    lines = [f"{number['complete']} complete, {number['pruned']} pruned, {number['failed']} failed.{limited}"]
    lines += _last_failure(study)
    running = len(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))
    if running:
        lines.append(f"Trials left running: {running}. Run the same command again to resume them.")
    if tracker.unsent:
        cause = f" ({tracker.trouble})" if tracker.trouble and not tracker.told else ""
        lines.append(f"MLflow lacks some events{cause}. Run the same command again to send them.")
    met = search.budget.met(study, search.resources.gpus_per_trial)
    if met:
        lines.append(f"{met[0].upper()}{met[1:]}. Raise the limit and run the command again to continue.")
    best = chosen_trial(study)
    if best:
        what = f"Best weights by {goal.objective}" if len(goal.objectives) > 1 else "Best weights"
        lines.append(f"{what}: {TrialRecord(best).checkpoint}")
        checkpoint = TrialRecord(best).checkpoint
        lines.append(f"Evaluate:     {command_line('platform.evaluate', checkpoint, '--data', search.setup.data)}")
    lines.append(f"Compare runs: {command_line('platform.ui', '--runs', stores.runs)}")
    lines.append(f"Report:       {report_command(stores)}")
    return lines


def _last_failure(study: optuna.Study) -> list[str]:
    """Return the line that says why the last trial that failed did; none if none has failed."""
    failed = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    reasons = [(trial, TrialRecord(trial).reason) for trial in failed if TrialRecord(trial).reason]
    return [f"Last failure: {label(trial)}: {reason}" for trial, reason in reasons[-1:]]
