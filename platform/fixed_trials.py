"""Trials whose settings, fold and seed are fixed beforehand: they wait in a study, and nothing about them is sampled.

The search's own machinery runs them: the same attempts, checkpoints and adoption after a kill. The best trials of a
search on other folds are such trainings, and so are the rows of a paper's table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from platform.trial_record import TrialRecord
from platform.trials import Trials

LEFT = (TrialState.WAITING, TrialState.RUNNING)


@dataclass(frozen=True)
class Training:
    """One training that is wanted."""

    of: int | str  # what is trained: the number of a search's trial, or the row of a paper's table
    fold: int
    seed: int


def enqueue_training(study: optuna.Study, params: Mapping[str, Any], training: Training, label: str) -> None:
    """Let a training with these values of Optuna's parameters wait in `study`."""
    attributes = TrialRecord.attributes(
        trained=training.of, training={"fold": training.fold, "seed": training.seed}, label=label
    )
    study.enqueue_trial(dict(params), user_attrs=attributes)


def newest(study: optuna.Study) -> dict[Training, FrozenTrial]:
    """Return the last trial of each training in the study."""
    return {training_of(trial): trial for trial in study.get_trials(deepcopy=False)}


def training_of(trial: FrozenTrial) -> Training:
    """Return which training a trial of such a study is."""
    return Training(of=TrialRecord(trial).trained, **TrialRecord(trial).training)


def is_left_out(training: FrozenTrial) -> bool:
    """Whether a training was ended before it began."""
    return TrialRecord(training).left_out


def leave_out(study: optuna.Study, trainings: Iterable[FrozenTrial]) -> None:
    """End those that wait: nobody wants them any more."""
    for training in trainings:
        if training.state == TrialState.WAITING:
            study._storage.set_trial_user_attr(training._trial_id, TrialRecord.left_out.key, True)
            study._storage.set_trial_state_values(training._trial_id, TrialState.PRUNED)


def count(study: optuna.Study) -> tuple[int, int]:
    """Return how many trainings are done, and how many are wanted in all."""
    wanted = [one for one in study.get_trials(deepcopy=False) if one.state != TrialState.FAIL and not is_left_out(one)]
    return sum(training.state.is_finished() for training in wanted), len(wanted)


class FixedTrials(Trials):
    """The trials that wait in a study, and those that an earlier start left running: no other is started."""

    def _num_left(self) -> int:
        return len(self._study.get_trials(deepcopy=False, states=LEFT))
