"""The trainings of a table in its study: enqueue the missing ones, and measure the completed ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict

import optuna
from optuna.trial import FrozenTrial, TrialState

from platform.evaluation import evaluate_split
from platform.finalize.trainings import note_scores
from platform.fixed_trials import Training, enqueue_training, leave_out, newest
from platform.paper_tables.reproduction import ROW, Split
from platform.tracking.journal import Journal
from platform.trial_record import StudyRecord, TrialRecord
from shards_tools.command import say
from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from trainables.evaluation.evaluation import Metrics
from trainables.recipes import recipe_from_dict
from trainables.recipes.recipe import Recipe
from trainables.training.checkpoint_info import EVALUATED
from trainables.training.checkpoint_store import fetched


def missing(known: Mapping[Training, FrozenTrial], wanted: Iterable[Training]) -> list[Training]:
    """Return the trainings that are new or did not complete: failed, diverged, or canceled by an earlier start."""
    return [training for training in wanted if _is_to_run(known.get(training))]


def _is_to_run(trial: FrozenTrial | None) -> bool:
    return trial is None or (trial.state.is_finished() and trial.state != TrialState.COMPLETE)


def enqueue_missing(study: optuna.Study, trainings: Mapping[Training, str], recipes: Mapping[str, Recipe]) -> None:
    """Enqueue the missing trainings in their order, and cancel waiting ones that are not requested.

    Args:
        study: the study of the trainings.
        trainings: the requested trainings with their labels.
        recipes: the recipes of their rows.

    Raises:
        Error: the recipe of a row has changed since the study was started.
    """
    _record_recipes(study, recipes)
    leave_out(study, (trial for training, trial in newest(study).items() if training not in trainings))
    for training in missing(newest(study), trainings):
        enqueue_training(study, {ROW: training.of}, training, trainings[training])


def _record_recipes(study: optuna.Study, recipes: Mapping[str, Recipe]) -> None:
    """Store the recipes of the rows in the study.

    Raises:
        Error: a row is stored with another recipe, so the table would mix trainings of both.
    """
    stored = StudyRecord(study).recipes
    for row, recipe in recipes.items():
        if row in stored and recipe_from_dict(stored[row]) != recipe:
            raise Error(
                f"The recipe {recipe.name} of row {row} has changed since study {study.study_name} was started. Start"
                " another study with --study NAME."
            )
    StudyRecord(study).recipes = {**stored, **{row: asdict(recipe) for row, recipe in recipes.items()}}


def measured(
    study: optuna.Study,
    trainings: Mapping[Training, str],
    journal: Journal,
    *,
    split: Split,
    manifest: Manifest,
    interrupted: bool,
) -> dict[Training, Metrics]:
    """Return the metrics of every completed training on `split`, as fractions.

    The study stores the metrics on the test split, so that each checkpoint is evaluated only once.

    Args:
        study: the study of the trainings.
        trainings: the requested trainings with their labels.
        journal: where the test metrics are logged.
        split: `val` or `test`.
        manifest: the data.
        interrupted: whether to skip checkpoints that have not been evaluated on the test split yet.
    """
    known = newest(study)
    complete = {one: known[one] for one in trainings if one in known and known[one].state == TrialState.COMPLETE}
    if split == "val":
        return {training: dict(TrialRecord(trial).metrics) for training, trial in complete.items()}
    stored = StudyRecord(study).test_metrics
    found = {}
    for training, trial in complete.items():
        if trial.number in stored:
            found[training] = stored[trial.number]
        elif not interrupted:
            say(f"Evaluate {trainings[training]} on the test split.")
            found[training] = _evaluated(study, trial, manifest)
        if training in found:  # also stored metrics: an earlier start may have died before it logged them
            scores = {f"test_{name}": value for name, value in found[training].items()}
            note_scores(journal, trial.number, trial.last_step or 0, "test", scores)
    return found


def _evaluated(study: optuna.Study, trial: FrozenTrial, manifest: Manifest) -> Metrics:
    with fetched(TrialRecord(trial).checkpoint, EVALUATED) as checkpoint:
        metrics: Metrics = evaluate_split(checkpoint, manifest, split="test", fold=None)["metrics"]
    StudyRecord(study).store_test_metrics(trial.number, metrics)
    return metrics
