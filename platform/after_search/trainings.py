"""Trainings that are settled beforehand: other folds of a search's best trials, other seeds of its finalists.

Each waits in a study of its own as a trial with fixed parameters, and is run by what runs the search: the same
attempts, checkpoints and adoption after a kill. What MLflow is told of it goes to the run of the search's trial.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.trial import FrozenTrial, TrialState

from platform.display.live import screen_of_part
from platform.execution import run_trials
from platform.fixed_trials import FixedTrials, Training, count, is_left_out, training_of
from platform.plan import Plan
from platform.storage import PatientStorage
from platform.tracking.journal import Journal
from platform.trial_record import StudyRecord
from shards_tools.command import say
from shards_tools.errors import Error
from trainables.metric_names import CLASSIFYING, RANKING

SCORES = (*RANKING, *CLASSIFYING)


def open_part(plan: Plan, storage: PatientStorage, name: str, pruner: BasePruner | None = None) -> optuna.Study:
    """The study `name` beside that of the plan; Error where somebody's own study has taken its name."""
    study = optuna.create_study(
        study_name=f"{plan.study}-{name}",
        storage=storage,
        direction="maximize",
        load_if_exists=True,
        pruner=pruner or NopPruner(),
    )
    if StudyRecord(study).is_search:
        raise Error(
            f"Study {study.study_name} is a search of its own, but study {plan.study} needs that name for its {name}."
            " Start it under another with --study NAME."
        )
    return study


def is_to_run(training: FrozenTrial | None) -> bool:
    """Whether a training is new, has failed, or was left out."""
    return training is None or training.state == TrialState.FAIL or is_left_out(training)


class Trainings(FixedTrials):
    """The trainings that wait in a study; `ended` is called whenever one has."""

    def __init__(
        self,
        study: optuna.Study,
        plan: Plan,
        journal: Journal,
        part: Callable[[Training], str],
        ended: Callable[[], None],
    ) -> None:
        book = _BookOfPart(journal, study, part)
        self._ended = ended
        own = plan_of_part(plan, study)
        super().__init__(study, own, book, screen_of_part(own, partial(count, study)))
        ended()

    def finish(self, attempt_id: str, *, died: bool) -> None:
        super().finish(attempt_id, died=died)
        self._ended()


def plan_of_part(plan: Plan, study: optuna.Study) -> Plan:
    """The plan by which the trainings of `study` run: nothing is drawn, nothing ends early, nothing limits them."""
    return replace(
        plan,
        runs=plan.folder,
        study=study.study_name.removeprefix(f"{plan.study}-"),
        sampler="random",  # every parameter is fixed
        pruner="none",
        target=None,
        patience=None,
        gpu_hours=None,
        hours=None,  # `run_part` says how many are left
        at_most={},  # the search has judged them
    )


def run_part(plan: Plan, study: optuna.Study, trainings: Trainings, hours: float | None, what: str) -> None:
    """Run what waits in `study`, for at most so many hours; None: until all is done."""
    part = replace(plan_of_part(plan, study), hours=hours)
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    running = states.count(TrialState.RUNNING)
    left = f", {running} of them from where an earlier start left them" if running else ""
    num_left = states.count(TrialState.WAITING) + running
    say(f"{what}; trainings left: {num_left}{left}; {plan.concurrency} at a time.")
    start = StudyRecord(study).starts + 1
    StudyRecord(study).starts = start
    with trainings.display:
        run_trials(part, trainings, start)
    if trainings.failure:
        raise trainings.failure


class _BookOfPart:
    """Hands the epochs of trainings on to the journal, as a part of the search's trial; its run has begun and ended."""

    def __init__(self, journal: Journal, study: optuna.Study, part: Callable[[Training], str]) -> None:
        self._journal, self._study, self._part = journal, study, part

    def append(self, kind: str, **fields: Any) -> None:
        if kind != "metrics":
            return
        training = training_of(self._study.get_trials(deepcopy=False)[fields["trial"]])
        part = self._part(training)
        values = {f"{part}_{key}": value for key, value in fields["values"].items() if key in (*SCORES, "loss")}
        self._journal.append("metrics", **{**fields, "trial": training.of, "values": values}, part=part)


def note_scores(journal: Journal, number: int, step: int, part: str, scores: Mapping[str, float]) -> None:
    """Tell MLflow numbers about a trial of the search as a whole, such as means over folds."""
    finite = {key: value for key, value in scores.items() if math.isfinite(value)}
    journal.append("metrics", trial=number, step=step, time=time.time(), values=finite, part=part)
