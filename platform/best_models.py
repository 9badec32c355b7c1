"""The models that a study registers with MLflow, each with the thresholds for comparing two pictures."""

from __future__ import annotations

from typing import Any

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from platform.finalize.compare_study import best_paper_row
from platform.objectives import OBJECTIVES
from platform.run_paths import stored_path
from platform.study import chosen_trial
from platform.training_setup import TrainingSetup
from platform.trial_record import TrialRecord
from shards_tools.command import command_line, say
from shards_tools.errors import Error
from trainables.evaluation.evaluation import Evaluation
from trainables.inference.verification import VERIFICATION_NAME, measure, read_verification, write_verification
from trainables.training.checkpoint_info import EVALUATED
from trainables.training.checkpoint_store import fetched, is_there, send


def models_of(study: optuna.Study, setup: TrainingSetup, objective: str) -> list[dict[str, Any]]:
    """Return the journal's entries for the best model and the best paper row.

    Returns:
        `trial`, `alias` ("best" or "baseline"), `checkpoint`, `metrics` (the measured objectives' names) and `note` of
        each; empty before a trial is complete.
    """
    best = chosen_trial(study)
    if best is None:
        return []
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    row = best_paper_row(sorted(complete, key=lambda trial: (-trial.values[0], trial.number)))
    return [
        _model(trial, alias, setup, objective)
        for alias, trial in (("best", best), ("baseline", row))
        if trial is not None
    ]


def _model(trial: FrozenTrial, alias: str, setup: TrainingSetup, objective: str) -> dict[str, Any]:
    checkpoint = TrialRecord(trial).checkpoint
    measure_once(checkpoint, setup)
    return {
        "trial": trial.number,
        "alias": alias,
        "checkpoint": stored_path(checkpoint),
        "metrics": [name for name in OBJECTIVES if name in TrialRecord(trial).metrics],
        "note": f"{TrialRecord(trial).baseline or 'Suggested'}, trial {trial.number}:"
        f" {objective} {trial.values[0]:.4f} on the validation split.",
    }


def measure_once(place: str, setup: TrainingSetup) -> None:
    """Measure the verification thresholds of the checkpoint at `place` unless it has them; log why if it is impossible.

    Data without pairs of works need no thresholds.
    """
    if not Evaluation(setup.manifest, "val", setup.fold).ranks:
        return
    try:
        if not is_there(place) or _is_measured(place):
            return
        if setup.scale == "paper" and not torch.cuda.is_available():  # the head of a cluster would take half an hour
            command = command_line("platform.predict", place, "--calibrate", setup.data)
            say(f"Thresholds for pairs of pictures need a GPU here: {command}")
            return
        with fetched(place, EVALUATED) as checkpoint:
            write_verification(checkpoint, measure(checkpoint, setup.manifest, fold=setup.fold))
            send(checkpoint, place, [VERIFICATION_NAME])
    except Error as mistake:
        say(f"No thresholds for pairs of pictures: {mistake}")


def _is_measured(place: str) -> bool:
    """Whether the checkpoint has thresholds; from a bucket only that file is fetched."""
    with fetched(place, [VERIFICATION_NAME]) as checkpoint:
        return read_verification(checkpoint) is not None
