"""`--finalists N`: the best trials are trained anew with several seeds, and each is evaluated on the test split, once.

The study STUDY-final holds one trial per finalist and seed; what the test gave is kept on the study, and a later start
prints it. Nothing else in the search reads an image of the test split.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from platform.after_search.trainings import Trainings, is_to_run, note_scores, open_part, run_part
from platform.comparison.of_study import Scores, seeds_of_finalists, tested_scores
from platform.comparison.paired import mean_and_std
from platform.display.lines import label
from platform.evaluation import evaluate_split
from platform.fixed_trials import Training, enqueue_training, leave_out, newest
from platform.plan import Plan
from platform.storage import PatientStorage
from platform.tracking.journal import Journal
from platform.trial_record import StudyRecord, TrialRecord
from shards_tools.command import say
from shards_tools.errors import Error
from trainables.checkpoint import EVALUATED
from trainables.evaluation import Evaluation
from trainables.places import fetched


class Finalists:
    """The finalists of one search, their trainings, and what the test gave."""

    def __init__(self, search: optuna.Study, plan: Plan, storage: PatientStorage, journal: Journal) -> None:
        self._search, self._plan, self._journal = search, plan, journal
        self.study = open_part(plan, storage, "final")
        before = self._elected.get("asked", {})
        if self.tested and before != self._asked:
            raise Error(
                f"--finalists {plan.finalists} with --final-seeds {plan.final_seeds}: the test split was read for"
                f" {before['finalists']} finalists with {before['final_seeds']} seeds of study {plan.study}, and is not"
                " read again. Give these, or start another study with --study NAME."
            )

    @property
    def tested(self) -> bool:
        """Whether the test split has been read: from then on the finalists stand."""
        return bool(StudyRecord(self.study).test_metrics)

    @property
    def seeds(self) -> list[int]:
        """Those of the trainings: none of them has been used by the search."""
        return seeds_of_finalists(self._plan.seed, self._plan.final_seeds)

    @property
    def numbers(self) -> list[int]:
        """The search's trials that are finalists, the best first; the paper row that is added comes last."""
        numbers: list[int] = self._elected.get("trials", [])
        return numbers

    @property
    def reference(self) -> int | None:
        """The paper row that the others are compared with."""
        number: int | None = self._elected.get("reference")
        return number

    @property
    def _elected(self) -> Mapping[str, Any]:
        """Who are the finalists, and what was asked for then; empty before the election."""
        return StudyRecord(self.study).elected

    @property
    def _asked(self) -> dict[str, int | None]:
        return {"finalists": self._plan.finalists, "final_seeds": self._plan.final_seeds}

    def elect(self, ranked: list[FrozenTrial], reference: FrozenTrial | None) -> None:
        """Take the first of `ranked`, and the paper row, unless the test has been read; let their trainings wait."""
        if self.tested:
            return
        assert self._plan.finalists is not None
        chosen = ranked[: self._plan.finalists]
        if reference is not None and reference not in chosen:
            chosen.append(reference)
        row = None if reference is None else reference.number
        elected = {"asked": self._asked, "trials": [trial.number for trial in chosen], "reference": row}
        StudyRecord(self.study).elected = elected
        known, own = newest(self.study), self._own_trainings()
        leave_out(self.study, (found for one, found in known.items() if one not in own))
        for trial in chosen:
            for seed in self.seeds:
                training = Training(of=trial.number, fold=self._plan.fold, seed=seed)
                if is_to_run(known.get(training)):
                    enqueue_training(self.study, trial.params, training, f"{label(trial)}, seed {seed}")

    def make_trainings(self) -> Trainings:
        """What runs the trainings of the finalists."""
        return Trainings(self.study, self._plan, self._journal, lambda one: f"seed_{one.seed}", lambda: None)

    def run(self, trainings: Trainings, hours: float | None) -> None:
        """Train what waits."""
        run_part(self._plan, self.study, trainings, hours, f"Finalists; seeds of each: {len(self.seeds)}")

    def test(self) -> None:
        """Evaluate every finalist's checkpoint that has not been on the test split, once all of them are trained."""
        trainings = self._own_trainings()
        failed = [found for found in trainings.values() if found.state == TrialState.FAIL]
        if failed:
            raise Error(
                f"{TrialRecord(failed[0]).label} has failed: {TrialRecord(failed[0]).reason} The test split stays"
                " locked; the same command trains it again."
            )
        tested = StudyRecord(self.study).test_metrics
        for found in trainings.values():
            if found.state != TrialState.COMPLETE or found.number in tested:
                continue
            say(f"{TrialRecord(found).label:<34} on the test split")
            with fetched(TrialRecord(found).checkpoint, EVALUATED) as checkpoint:
                result = evaluate_split(checkpoint, self._plan.manifest, split="test", fold=None)
            StudyRecord(self.study).store_test_metrics(found.number, result["metrics"])
        for number, by_seed in self.scores().items():
            self._tell_mlflow(number, by_seed)

    def checkpoints(self, number: int) -> list[str]:
        """Where the finalist's weights lie, by seed."""
        own = {one.seed: found for one, found in self._own_trainings().items() if one.of == number}
        return [TrialRecord(own[seed]).checkpoint for seed in sorted(own) if own[seed].state == TrialState.COMPLETE]

    def scores(self) -> dict[int, dict[int, Scores]]:
        """Finalist -> seed -> what the test gave, without the trainings that did not train."""
        return tested_scores(
            self.study.get_trials(deepcopy=False), StudyRecord(self.study).test_metrics, self.numbers, self.seeds
        )

    @property
    def metric(self) -> str:
        """What the finalists are compared by: the objective, or what the test split has in its place."""
        names = list(self.chance)
        return self._plan.objective if self._plan.objective in names else names[0]

    @property
    def chance(self) -> dict[str, float]:
        """What random features give on the test split; of labels alone."""
        return Evaluation(self._plan.manifest, "test", self._plan.fold).chance()

    def _own_trainings(self) -> dict[Training, FrozenTrial]:
        """Those of the finalists; of a trial that was elected earlier, before the test, there may be others."""
        return {
            one: found for one, found in newest(self.study).items() if one.of in self.numbers and one.seed in self.seeds
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
