"""Runs the stages after a search: the best third on other folds, finalists on the test split, the final training."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import optuna
from optuna.trial import TrialState
from rich.table import Table

from platform.finalize.compare import Comparison, comparison_table, notes_on
from platform.finalize.compare_study import best_paper_row, compare_finalists, compare_folds, ranked_by_mean
from platform.finalize.cross_validation import Folds
from platform.finalize.final_test import Finalists
from platform.finalize.final_training import FinalTraining
from platform.finalize.trainings import Trainings
from platform.protocol import check_protocol
from platform.resilient_storage import PatientStorage
from platform.resolved_search import ResolvedSearch
from platform.spaces.constraints import is_over
from platform.tracking.journal import Journal
from platform.tracking.tracker import Tracker
from platform.trial_record import StudyRecord
from shards_tools.errors import Error
from trainables.evaluation.evaluation import Evaluation


class AfterSearch:
    """The stages after a search; each resumes where an earlier start left it."""

    def __init__(self, study: optuna.Study, search: ResolvedSearch, storage: PatientStorage, journal: Journal) -> None:
        check_protocol(study, search.protocol.folds, search.setup.manifest.test_fold)
        self._study, self._search, self._storage = study, search, storage
        self._started = time.monotonic()
        self._folds = Folds(study, search, storage, journal) if search.protocol.folds > 1 else None
        self._finalists = Finalists(study, search, storage, journal) if search.protocol.finalists else None
        self._final = FinalTraining(study, search, storage, journal) if search.protocol.final_train else None
        self.failure: Error | None = None  # why the final training has no result
        self.ran: Trainings | None = None  # the trainings of the last stage that ran

    def run(self, start_ray: Callable[[], None]) -> None:
        """Run the remaining trainings of all stages, within --hours."""
        if self._folds:
            self._folds.enlist()
            if not self._run(self._folds, start_ray):
                return
            best = [trial for trial in self._ranked() if not is_over(trial)]
            if best:
                StudyRecord(self._study).best_by_mean = best[0].number
        if self._finalists:
            ranked = self._ranked()
            self._finalists.elect([trial for trial in ranked if not is_over(trial)], best_paper_row(ranked))
            if not self._run(self._finalists, start_ray):
                return
            self._finalists.test()
        if self._final:
            self._final.enlist()
            if self._run(self._final, start_ray):
                self.failure = self._final.failure

    def tables(self) -> list[tuple[Table, list[str]]]:
        """Return the table of each stage that has results, with the lines under it."""
        what = self._search.goal.objective
        shown = []
        folds = self._compared_folds()
        if folds:
            title = f"Folds 0 to {self._search.protocol.folds - 1}, the validation split of each: {what} %"
            notes = notes_on(folds, "the folds that the search did not use")
            shown.append((comparison_table(title, "fold", folds), notes))
        final = self._compared_finalists()
        if final and self._finalists:
            title = f"Test split, read once: {self._finalists.metric} %"
            shown.append((comparison_table(title, "seed", final), notes_on(final, "seeds")))
        return shown

    def final_models(self) -> list[dict[str, Any]]:
        """Return the journal's entry for the model of the final training; empty before it is done."""
        return self._final.models() if self._final else []

    def lines(self) -> list[str]:
        """Return the lines about the final training at the end of the summary."""
        return self._final.lines() if self._final else []

    def final_as_json(self, tracker: Tracker) -> dict[str, Any] | None:
        """Return the entry of the final training in the command's JSON; None before it is done."""
        return self._final.as_json(tracker) if self._final else None

    def as_json(self) -> dict[str, Any]:
        """Return the other stages' entries in the command's JSON: lists with one entry per trial, best first."""
        final = self._compared_finalists()
        weights = [self._finalists.checkpoints(one.trial) for one in final] if self._finalists else []
        return {
            "folds": [one.as_json() for one in self._compared_folds()],
            "finalists": [{**one.as_json(), "checkpoints": own} for one, own in zip(final, weights, strict=True)],
        }

    def _run(self, stage: Folds | Finalists | FinalTraining, start_ray: Callable[[], None]) -> bool:
        """Run a stage's trainings, and return whether all of them are done."""
        self.ran = trainings = stage.make_trainings()
        self._storage.interrupted = lambda: trainings.interrupted
        hours = self._hours_left()
        if not trainings.done and (hours is None or hours > 0):
            start_ray()
            stage.run(trainings, hours)
        return trainings.over

    def _hours_left(self) -> float | None:
        hours = self._search.budget.hours
        if hours is None:
            return None
        return hours - (time.monotonic() - self._started) / 3600

    def _ranked(self) -> list[optuna.trial.FrozenTrial]:
        """Return the completed trials of the search, best first: by the mean over folds with --folds, else by value."""
        if self._folds is None:
            complete = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            return sorted(complete, key=lambda trial: (-trial.values[0], trial.number))
        return ranked_by_mean(self._study, self._folds.last_candidates())

    def _compared_folds(self) -> list[Comparison]:
        if self._folds is None:
            return []
        setup, folds, what = self._search.setup, self._search.protocol.folds, self._search.goal.objective
        chance = [Evaluation(setup.manifest, "val", fold).chance()[what] for fold in range(folds)]
        candidates, mean_chance = self._folds.last_candidates(), sum(chance) / len(chance)
        return compare_folds(self._study, candidates, folds=folds, fold=setup.fold, chance=mean_chance)

    def _compared_finalists(self) -> list[Comparison]:
        final = self._finalists
        if final is None or not final.tested:
            return []
        return compare_finalists(
            self._study,
            final.scores(),
            metric=final.metric,
            reference=final.reference,
            seeds=final.seeds,
            chance=final.chance[final.metric],
        )
