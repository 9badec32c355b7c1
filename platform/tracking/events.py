"""The events of a trial: which settings, metrics and tags MLflow gets, also when a lost journal is rebuilt."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from platform.objectives import COSTS, METRICS, last_epoch
from platform.samplers.registry import SearchMethod
from platform.tracking.descriptions import NOTE, trial_note
from platform.tracking.journal import Book, Journal
from platform.training_setup import TrainingSetup
from platform.trial_record import TrialRecord
from trainables.evaluation.metric_names import LOSSES, SYSTEM
from trainables.recipes.recipe import Recipe
from trainables.recipes.settings import settings_of

# The metrics of a report that are sent.
METRIC_KEYS = (
    *METRICS, *COSTS, "num_valid_queries", "loss", *LOSSES, "lr", "seconds", "images_per_second", "rss_mb",
    *SYSTEM,
)  # fmt: skip
TAG_KEYS = ("baseline", "warm_start", "over_limit")  # a trial's origin, and a limit it may exceed before it starts


def start_of(
    trial: optuna.Trial | FrozenTrial, recipe: Recipe | None, setup: TrainingSetup, method: SearchMethod
) -> dict[str, Any]:
    """Return the fields of the journal event `trial`, which is written when a trial starts.

    Args:
        trial: its record may replace the fold and the seed of `setup`.
        recipe: what the trial trains; None: the space rejects its parameters.
        setup: the space, the data, the fold and the seed.
        method: the sampler and the pruner, for the tags.

    Returns:
        `trial` (its number), `name`, `params` (the recipe's settings, fold and seed; without a recipe the trial's own)
        and `tags`, as MLflow shows them.
    """
    record = TrialRecord(trial)
    known = {key: text for key in TAG_KEYS if (text := getattr(record, key))}
    training = record.training or {"fold": setup.fold, "seed": setup.seed}
    return {
        "trial": trial.number,
        "name": record.label or record.baseline or f"trial {trial.number}",
        "params": {"recipe": recipe.name, **settings_of(recipe), **training} if recipe else trial.params,
        "tags": {
            "data": setup.manifest.fingerprint,
            **search_tags(setup, method),
            **({"recipe": recipe.name, "backbone": recipe.backbone} if recipe else {}),
            NOTE: trial_note(trial, recipe, setup.space, method.sampler) if recipe else "Rejected by `suggest`.",
            **known,
        },
    }


def search_tags(setup: TrainingSetup, method: SearchMethod) -> dict[str, str]:
    """Return the tags that distinguish runs of different studies."""
    return {"space": setup.space.name, "scale": setup.scale, "sampler": method.sampler, "pruner": method.pruner}


def rebuild(study: optuna.Study, setup: TrainingSetup, method: SearchMethod, journal: Journal) -> None:
    """Write what the journal lacks: everything if it is empty, else the ends of trials that no search has ended.

    An empty journal gets the start, the last epoch and the end of every trial that has started.

    Sending them again changes nothing in MLflow, except that the last epoch of a trial may appear with two timestamps.

    Args:
        study: the study.
        setup: maps the parameters of each trial to its recipe.
        method: the sampler and the pruner, for the tags.
        journal: of this study.
    """
    if journal.size():
        _add_ends(study, journal)
        return
    for trial in study.get_trials(deepcopy=False):
        write_trial(trial, setup, method, journal)


def write_trial(trial: FrozenTrial, setup: TrainingSetup, method: SearchMethod, book: Book) -> None:
    """Write the start, the last epoch and the end of a trial to a book, as far as it has come."""
    if trial.datetime_start is None:  # waiting, or skipped before it started
        return
    if trial.state == TrialState.RUNNING and not TrialRecord(trial).attempts:
        return  # killed before its first attempt, perhaps before its suggestion; the next attempt starts it
    began = _seconds(trial.datetime_start)
    try:
        recipe = setup.recipe(trial)
    except optuna.TrialPruned:
        recipe = None
    book.append("trial", **start_of(trial, recipe, setup, method), time=began)
    ended = _seconds(trial.datetime_complete) if trial.state.is_finished() else began
    epoch = last_epoch(trial)
    if epoch:
        book.append("metrics", trial=trial.number, step=epoch, time=ended, values=TrialRecord(trial).metrics)
    if trial.state.is_finished():
        _append_end(trial, book)


def _add_ends(study: optuna.Study, journal: Journal) -> None:
    """Write the ends of trials that another program has ended while no search ran, such as `platform.studies stop`."""
    unended = journal.unended
    for trial in study.get_trials(deepcopy=False):
        if trial.state.is_finished() and trial.number in unended:
            _append_end(trial, journal)


def _append_end(trial: FrozenTrial, book: Book) -> None:
    reason, ended = TrialRecord(trial).reason, _seconds(trial.datetime_complete)
    book.append("end", trial=trial.number, state=trial.state.name, reason=reason, time=ended)


def _seconds(moment: datetime | None) -> float:
    return 0.0 if moment is None else moment.timestamp()
