"""Trials whose settings, fold and seed are fixed in advance: they are enqueued in a study, and nothing is sampled.

They run as the trials of a search do: with the same attempts and checkpoints, and they resume after a kill. They are
used to train the best trials of a search on other folds, and the rows of a paper's table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from platform.samplers.registry import SearchMethod
from platform.trial_record import TrialRecord
from platform.trials import Trials

LEFT = (TrialState.WAITING, TrialState.RUNNING)
FIXED = SearchMethod(sampler="random", pruner="none")  # every parameter is fixed, and no trial is pruned


@dataclass(frozen=True)
class Training:
    """A training that a study must contain."""

    of: int | str  # the number of a search's trial, or the row of a paper's table
    fold: int
    seed: int


def enqueue_training(study: optuna.Study, params: Mapping[str, Any], training: Training, label: str) -> None:
    """Enqueue a training as a trial with fixed parameters.

    Args:
        study: the study of the trainings, not the search.
        params: the values of Optuna's parameters, by name.
        training: the fold and the seed, which replace those of the search.
        label: the name of the trial in messages and in MLflow.
    """
    attributes = TrialRecord.attributes(
        trained=training.of, training={"fold": training.fold, "seed": training.seed}, label=label
    )
    study.enqueue_trial(dict(params), user_attrs=attributes)


def newest(study: optuna.Study) -> dict[Training, FrozenTrial]:
    """Return the last trial of each training in the study."""
    return {training_of(trial): trial for trial in study.get_trials(deepcopy=False)}


def training_of(trial: FrozenTrial) -> Training:
    """Return the training that a trial of such a study runs."""
    return Training(of=TrialRecord(trial).trained, **TrialRecord(trial).training)


def is_left_out(training: FrozenTrial) -> bool:
    """Whether a training was canceled before it started."""
    return TrialRecord(training).left_out


def leave_out(study: optuna.Study, trainings: Iterable[FrozenTrial]) -> None:
    """Cancel the trainings that are still waiting, because their results are no longer needed."""
    for training in trainings:
        if training.state == TrialState.WAITING:
            study._storage.set_trial_user_attr(training._trial_id, TrialRecord.left_out.key, True)
            study._storage.set_trial_state_values(training._trial_id, TrialState.PRUNED)


def count(study: optuna.Study) -> tuple[int, int]:
    """Return how many trainings have finished, and how many there are in all."""
    wanted = [one for one in study.get_trials(deepcopy=False) if one.state != TrialState.FAIL and not is_left_out(one)]
    return sum(training.state.is_finished() for training in wanted), len(wanted)


class FixedTrials(Trials):
    """Runs the waiting trials of a study and those that an earlier start left running, and no others."""

    def _num_left(self) -> int:
        return len(self.study.get_trials(deepcopy=False, states=LEFT))
