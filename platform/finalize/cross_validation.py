"""`--folds K`: train the best third of a search's trials on the other folds too, and rank them by the mean.

The study STUDY-folds has one trial per candidate, whose steps are the folds. The study STUDY-fold-trainings has one
trial per candidate and fold, whose steps are the epochs. The first is derived from the second and can be updated at any
time, so a kill between the two loses nothing.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping

import optuna
from optuna.pruners import WilcoxonPruner
from optuna.trial import FrozenTrial, TrialState, create_trial

from platform.finalize.compare_study import best_paper_row, last_candidates
from platform.finalize.paired_test import mean_and_std
from platform.finalize.trainings import SCORES, BookOfPart, Trainings, is_to_run, note_scores, open_part, run_part
from platform.fixed_trials import Training, enqueue_training, is_left_out, leave_out, newest
from platform.resilient_storage import PatientStorage
from platform.resolved_search import ResolvedSearch
from platform.spaces.constraints import is_over
from platform.terminal.lines import label
from platform.tracking.journal import Journal
from platform.trial_record import StudyRecord, TrialRecord
from trainables.training.checkpoint_store import remove

SHARE = 3  # one trial in three is cross-validated
FEWEST = 2


def best_third(study: optuna.Study) -> list[FrozenTrial]:
    """Return the best third of the completed trials, at least two, and the best paper row; best first.

    Trials over a limit of --at-most are left out, except for the paper row.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    ranked = sorted(complete, key=lambda trial: (-trial.values[0], trial.number))
    allowed = [trial for trial in ranked if not is_over(trial)]
    chosen = allowed[: max(FEWEST, math.ceil(len(allowed) / SHARE))]
    row = best_paper_row(ranked)
    return chosen if row is None or row in chosen else [*chosen, row]


class Folds:
    """The candidates of one search, and their trainings on the other folds."""

    def __init__(self, study: optuna.Study, search: ResolvedSearch, storage: PatientStorage, journal: Journal) -> None:
        self._study, self._search, self._journal = study, search, journal
        self._folds, self._fold = search.protocol.folds, search.setup.fold
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            pruner = WilcoxonPruner()
        self.candidates = open_part(study.study_name, storage, "folds", pruner)
        self.trainings = open_part(study.study_name, storage, "fold-trainings")

    def enlist(self) -> None:
        """Add a candidate for each trial to be cross-validated, and enqueue its trainings.

        A candidate that failed, or that has fewer folds than now requested, is added again with its known values.
        """
        self.settle()
        StudyRecord(self._study).folds = self._folds
        trials = self._study.get_trials(deepcopy=False)
        last = self.last_candidates()
        chosen = {trial.number: trial for trial in best_third(self._study)}
        chosen |= {number: trials[number] for number, known in last.items() if known.state == TrialState.COMPLETE}
        for number, trial in sorted(chosen.items(), key=lambda entry: (-entry[1].values[0], entry[0])):
            known = last.get(number)
            if known is None or known.state == TrialState.FAIL or self._needs_more_folds(known):
                self._add_candidate(trial)
        self._enqueue_trainings(trials)
        self.settle()

    def last_candidates(self) -> dict[int, FrozenTrial]:
        """Return the number of each cross-validated trial -> its last candidate."""
        return last_candidates(self.candidates.get_trials(deepcopy=False))

    def run(self, trainings: Trainings, hours: float | None) -> None:
        """Run the waiting trainings, for at most `hours`; None: without a limit."""
        run_part(trainings, hours, f"Cross-validation of the best third on {self._folds} folds")

    def make_trainings(self) -> Trainings:
        """Return the object that runs the trainings; it calls `settle` after each."""
        book = BookOfPart(self._journal, self.trainings, lambda one: f"fold_{one.fold}")
        return Trainings(self.trainings, self._search, book, self.settle)

    def settle(self) -> None:
        """Report the results of ended trainings to their candidates, and end candidates that are decided."""
        trainings = newest(self.trainings)
        for trial in self.candidates.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            own = {one.fold: found for one, found in trainings.items() if one.of == TrialRecord(trial).candidate}
            candidate = optuna.Trial(self.candidates, trial._trial_id)
            for fold, training in sorted(own.items()):
                if training.state == TrialState.COMPLETE:
                    if fold not in trial.intermediate_values:
                        candidate.report(training.values[0], fold)
                    remove(TrialRecord(training).checkpoint)  # only the metrics are needed
            self._end(candidate, own)

    def _needs_more_folds(self, known: FrozenTrial) -> bool:
        return known.state == TrialState.COMPLETE and len(known.intermediate_values) < self._folds

    def _add_candidate(self, trial: FrozenTrial) -> None:
        """Add a candidate with its value on the search's fold and its known values on other folds."""
        done = {
            one.fold: training.values[0]
            for one, training in newest(self.trainings).items()
            if one.of == trial.number and training.state == TrialState.COMPLETE and one.fold < self._folds
        }
        baseline = TrialRecord(trial).baseline
        origin = {"baseline": baseline} if baseline else {}
        self.candidates.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=trial.params,
                distributions=trial.distributions,
                intermediate_values={self._fold: trial.values[0], **done},
                user_attrs=TrialRecord.attributes(candidate=trial.number, **origin),
            )
        )

    def _enqueue_trainings(self, trials: list[FrozenTrial]) -> None:
        known = newest(self.trainings)
        for candidate in self.candidates.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if TrialRecord(candidate).pruned_at is not None:
                continue
            trial = trials[TrialRecord(candidate).candidate]
            for fold in range(self._folds):
                training = Training(of=trial.number, fold=fold, seed=self._search.setup.seed)
                if fold != self._fold and is_to_run(known.get(training)):
                    enqueue_training(self.trainings, trial.params, training, f"{label(trial)}, fold {fold}")

    def _end(self, candidate: optuna.Trial, own: Mapping[int, FrozenTrial]) -> None:
        """End a candidate that is decided once none of its trainings runs; cancel those that still wait."""
        state, reason = self._verdict(candidate, own)
        if state is None:
            return
        leave_out(self.trainings, own.values())
        if any(training.state == TrialState.RUNNING for training in own.values()):
            return
        if state != TrialState.COMPLETE:
            TrialRecord(candidate).reason = reason
            self.candidates.tell(candidate, state=state)
            return
        number, values = TrialRecord(candidate).candidate, self._frozen(candidate).intermediate_values
        note_scores(self._journal, number, len(values), "folds", self._means(number, own))
        self.candidates.tell(candidate, mean_and_std(list(values.values()))[0])

    def _verdict(self, candidate: optuna.Trial, own: Mapping[int, FrozenTrial]) -> tuple[TrialState | None, str]:
        """Return the final state of a candidate and the reason; the state is None while it is undecided."""
        for fold, training in sorted(own.items()):
            if training.state == TrialState.FAIL:
                return TrialState.FAIL, f"fold {fold}: {TrialRecord(training).reason}"
            if training.state == TrialState.PRUNED and not is_left_out(training):
                return TrialState.PRUNED, f"fold {fold}: {TrialRecord(training).reason}"
        frozen = self._frozen(candidate)
        if len(frozen.intermediate_values) == self._folds:
            return TrialState.COMPLETE, ""
        if TrialRecord(candidate).pruned_at is None and self._is_worse(frozen):
            TrialRecord(candidate).pruned_at = frozen.last_step
        if TrialRecord(candidate).pruned_at is not None:
            return TrialState.PRUNED, f"worse on {len(frozen.intermediate_values)} folds than the best candidate"
        return None, ""

    def _is_worse(self, candidate: FrozenTrial) -> bool:
        """Ask Optuna's pruner; baselines are never pruned, because the others are compared with them."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about folds that the best candidate has no value for
            return not TrialRecord(candidate).baseline and self.candidates.pruner.prune(self.candidates, candidate)

    def _frozen(self, candidate: optuna.Trial) -> FrozenTrial:
        return self.candidates._storage.get_trial(candidate._trial_id)

    def _means(self, number: int, own: Mapping[int, FrozenTrial]) -> dict[str, float]:
        """Return the mean and the standard deviation over the folds of every metric that all have, named for MLflow."""
        first = TrialRecord(self._study.get_trials(deepcopy=False)[number]).metrics
        folds = [first, *(TrialRecord(training).metrics for training in own.values())]
        named = {}
        for key in SCORES:
            if all(key in scores for scores in folds):
                named[f"mean_{key}"], named[f"std_{key}"] = mean_and_std([scores[key] for scores in folds])
        return named
