"""Enqueues the trainings of a table that its study lacks, and cancels those that are no longer requested."""

from __future__ import annotations

from dataclasses import asdict

import optuna
from optuna.trial import FrozenTrial, TrialState

from platform.fixed_trials import Training, enqueue_training, leave_out, newest
from platform.paper_tables.options import TablePlan
from platform.paper_tables.space import ROW
from platform.trial_record import StudyRecord
from shards_tools.errors import Error
from trainables.recipes import recipe_from_dict


def missing(known: dict[Training, FrozenTrial], wanted: list[Training]) -> list[Training]:
    """Return the trainings that are new or did not complete: failed, diverged, or canceled by an earlier start."""
    return [training for training in wanted if _is_to_run(known.get(training))]


def enqueue_missing(study: optuna.Study, table_plan: TablePlan) -> None:
    """Enqueue the missing trainings in their fixed order, and cancel waiting ones that are not requested.

    Raises:
        Error: the recipe of a row has changed since the study was started.
    """
    _record_recipes(study, table_plan)
    known, wanted = newest(study), table_plan.trainings
    leave_out(study, (trial for training, trial in known.items() if training not in set(wanted)))
    for training in missing(newest(study), wanted):
        enqueue_training(study, {ROW: training.of}, training, table_plan.label(training))


def _is_to_run(trial: FrozenTrial | None) -> bool:
    return trial is None or (trial.state.is_finished() and trial.state != TrialState.COMPLETE)


def _record_recipes(study: optuna.Study, table_plan: TablePlan) -> None:
    """Store the recipes of the rows in the study.

    Raises:
        Error: a row is stored with another recipe, so the table would mix trainings of both.
    """
    recipes = {row: table_plan.table.recipe(row, table_plan.search.setup.scale) for row in table_plan.rows}
    stored = StudyRecord(study).recipes
    for row, recipe in recipes.items():
        if row in stored and recipe_from_dict(stored[row]) != recipe:
            raise Error(
                f"The recipe {recipe.name} of row {row} has changed since study {study.study_name} was started. Start"
                " another study with --study NAME."
            )
    StudyRecord(study).recipes = {**stored, **{row: asdict(recipe) for row, recipe in recipes.items()}}
