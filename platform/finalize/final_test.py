"""`--finalists N`: retrain the best trials with several seeds, and evaluate each of them on the test split, once.

The study STUDY-final has one trial per finalist and seed, and stores the test metrics, which later starts print.
Nothing else in the search reads the test split.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from platform.finalize.compare_study import Scores, seeds_of_finalists, tested_scores
from platform.finalize.paired_test import mean_and_std
from platform.finalize.trainings import BookOfPart, Trainings, is_to_run, note_scores, open_part, run_part
from platform.fixed_trials import Training, enqueue_training, leave_out, newest
from platform.resilient_storage import PatientStorage
from platform.resolved_search import ResolvedSearch
from platform.terminal.lines import label
from platform.tracking.journal import Journal
from platform.trial_record import StudyRecord, TrialRecord
from shards_tools.command import say
from shards_tools.errors import Error
from trainables.evaluation.evaluation import Evaluation
from trainables.training.checkpoint_info import EVALUATED
from trainables.training.checkpoint_store import fetched


class Finalists:
    """The finalists of one search, their trainings and their test metrics."""

    def __init__(self, study: optuna.Study, search: ResolvedSearch, storage: PatientStorage, journal: Journal) -> None:
        self._search, self._journal = search, journal
        self._setup, self._protocol = search.setup, search.protocol
        self.trainings = open_part(study.study_name, storage, "final")
        before = self._elected.get("asked", {})
        if self.tested and before != self._asked:
            raise Error(
                f"--finalists {self._protocol.finalists} with --final-seeds {self._protocol.final_seeds}: the test"
                f" split was read for {before['finalists']} finalists with {before['final_seeds']} seeds of study"
                f" {study.study_name}, and is read only once. Give these numbers, or start another study with --study"
                " NAME."
            )

    @property
    def tested(self) -> bool:
        """Whether the test split has been read; from then on the finalists cannot change."""
        return bool(StudyRecord(self.trainings).test_metrics)

    @property
    def seeds(self) -> list[int]:
        """The seeds of the trainings, none of which the search has used."""
        return seeds_of_finalists(self._setup.seed, self._protocol.final_seeds)

    @property
    def numbers(self) -> list[int]:
        """The numbers of the search's trials that are finalists, best first; an added paper row comes last."""
        numbers: list[int] = self._elected.get("trials", [])
        return numbers

    @property
    def reference(self) -> int | None:
        """The number of the paper row that the others are compared with."""
        number: int | None = self._elected.get("reference")
        return number

    @property
    def _elected(self) -> Mapping[str, Any]:
        """The finalists, and the options they were chosen with; empty before they are chosen."""
        return StudyRecord(self.trainings).elected

    @property
    def _asked(self) -> dict[str, int | None]:
        return {"finalists": self._protocol.finalists, "final_seeds": self._protocol.final_seeds}

    def elect(self, ranked: list[FrozenTrial], reference: FrozenTrial | None) -> None:
        """Choose the finalists and enqueue their trainings, unless the test split has been read.

        Args:
            ranked: the trials of the search, best first.
            reference: the paper row that is added to the finalists; None: there is none.
        """
        if self.tested:
            return
        assert self._protocol.finalists is not None
        chosen = ranked[: self._protocol.finalists]
        if reference is not None and reference not in chosen:
            chosen.append(reference)
        row = None if reference is None else reference.number
        elected = {"asked": self._asked, "trials": [trial.number for trial in chosen], "reference": row}
        StudyRecord(self.trainings).elected = elected
        known, own = newest(self.trainings), self._own_trainings()
        leave_out(self.trainings, (found for one, found in known.items() if one not in own))
        for trial in chosen:
            for seed in self.seeds:
                training = Training(of=trial.number, fold=self._setup.fold, seed=seed)
                if is_to_run(known.get(training)):
                    enqueue_training(self.trainings, trial.params, training, f"{label(trial)}, seed {seed}")

    def make_trainings(self) -> Trainings:
        """Return the object that runs the finalists' trainings."""
        book = BookOfPart(self._journal, self.trainings, lambda one: f"seed_{one.seed}")
        return Trainings(self.trainings, self._search, book, lambda: None)

    def run(self, trainings: Trainings, hours: float | None) -> None:
        """Run the waiting trainings, for at most `hours`; None: without a limit."""
        run_part(trainings, hours, f"Finalists; seeds of each: {len(self.seeds)}")

    def test(self) -> None:
        """Evaluate the finalists on the test split, except for those that have been evaluated before.

        Raises:
            Error: a training has failed; the test split is not read.
        """
        trainings = self._own_trainings()
        failed = [found for found in trainings.values() if found.state == TrialState.FAIL]
        if failed:
            raise Error(
                f"{TrialRecord(failed[0]).label} has failed: {TrialRecord(failed[0]).reason} The test split was not"
                " read. Run the same command again to retry the training."
            )
        from platform.evaluation import evaluate_split  # imports torch

        tested = StudyRecord(self.trainings).test_metrics
        for found in trainings.values():
            if found.state != TrialState.COMPLETE or found.number in tested:
                continue
            say(f"{TrialRecord(found).label:<34} is evaluated on the test split")
            with fetched(TrialRecord(found).checkpoint, EVALUATED) as checkpoint:
                result = evaluate_split(checkpoint, self._setup.manifest, split="test", fold=None)
            StudyRecord(self.trainings).store_test_metrics(found.number, result["metrics"])
        for number, by_seed in self.scores().items():
            self._tell_mlflow(number, by_seed)

    def checkpoints(self, number: int) -> list[str]:
        """Return the addresses of the finalist's checkpoints, in the order of the seeds."""
        own = {one.seed: found for one, found in self._own_trainings().items() if one.of == number}
        return [TrialRecord(own[seed]).checkpoint for seed in sorted(own) if own[seed].state == TrialState.COMPLETE]

    def scores(self) -> dict[int, dict[int, Scores]]:
        """Return finalist -> seed -> test metrics, without the trainings that did not complete."""
        return tested_scores(
            self.trainings.get_trials(deepcopy=False),
            StudyRecord(self.trainings).test_metrics,
            self.numbers,
            self.seeds,
        )

    @property
    def metric(self) -> str:
        """The metric that finalists are compared by: the objective or, if the test split lacks it, its first metric."""
        names = list(self.chance)
        objective = self._search.goal.objective
        return objective if objective in names else names[0]

    @property
    def chance(self) -> dict[str, float]:
        """The metrics of random features on the test split, computed from the labels."""
        return Evaluation(self._setup.manifest, "test", self._setup.fold).chance()

    def _own_trainings(self) -> dict[Training, FrozenTrial]:
        """Return the trainings of the current finalists; before the test, others may have been chosen earlier."""
        return {
            one: found
            for one, found in newest(self.trainings).items()
            if one.of in self.numbers and one.seed in self.seeds
        }

    def _tell_mlflow(self, number: int, by_seed: dict[int, Scores]) -> None:
        scores: dict[str, Any] = {}
        for seed, metrics in by_seed.items():
            scores |= {f"test_seed_{seed}_{key}": value for key, value in metrics.items()}
        for key in next(iter(by_seed.values()), {}):
            mean, std = mean_and_std([metrics[key] for metrics in by_seed.values()])
            scores |= {f"test_mean_{key}": mean, f"test_std_{key}": std}
        if scores:
            note_scores(self._journal, number, len(by_seed), "test", scores)
