"""`--final-train`: train the best trial once more, on train and val, without reading the test split.

The study STUDY-final-train has one trial for each best that was trained so. After the training nothing is left to
evaluate on but the test split: it reports losses, and the weights of its last epoch are the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from platform.finalize.trainings import Trainings, open_part, run_part
from platform.fixed_trials import FIXED, Training, enqueue_training, leave_out, newest
from platform.objectives import Goal, last_epoch
from platform.protocol import command_for_test
from platform.resilient_storage import PatientStorage
from platform.resolved_search import ResolvedSearch
from platform.run_paths import stored_path
from platform.study import chosen_trial, final_training
from platform.terminal.lines import label, say_smaller_batches
from platform.tracking.events import write_trial
from platform.tracking.journal import Journal, owner_of_final
from platform.tracking.tracker import Tracker
from platform.trial_record import TrialRecord
from shards_tools.command import say
from shards_tools.errors import Error
from shards_tools.manifest import TRAINED_ON_ALL_BUT_TEST

WITHOUT_SAMPLING = ("sampler", "pruner")  # tags that mean nothing for a training that is fixed in advance


class FinalTraining:
    """The training of a search's best trial on train and val."""

    def __init__(self, study: optuna.Study, search: ResolvedSearch, storage: PatientStorage, journal: Journal) -> None:
        self._study, self._manifest = study, search.setup.manifest
        setup = replace(search.setup, manifest=self._manifest.with_trained(TRAINED_ON_ALL_BUT_TEST))
        self._search = replace(search, setup=setup, goal=Goal(objectives=("loss",), at_most={}, chance={}))
        self.trainings = open_part(study.study_name, storage, "final-train", direction="minimize")
        self._book = _BookOfFinal(journal, self.trainings)
        for trial in self.trainings.get_trials(deepcopy=False):
            if owner_of_final(TrialRecord(trial).trained) not in journal.owners:  # the journal was lost
                write_trial(trial, setup, FIXED, self._book)

    @property
    def done(self) -> FrozenTrial | None:
        """The completed training of the best trial; None if there is none yet."""
        return final_training(self._study, self.trainings.get_trials(deepcopy=False))

    @property
    def failure(self) -> Error | None:
        """Why the training of the best trial has ended without a result; None if it has a result or has not ended."""
        known = newest(self.trainings).get(self._wanted) if self._best else None
        if known is None or known.state not in (TrialState.FAIL, TrialState.PRUNED):
            return None
        return Error(
            f"--final-train: {TrialRecord(known).label} has ended early: {TrialRecord(known).reason} Run the same"
            " command again to retry it."
        )

    @property
    def _best(self) -> FrozenTrial | None:
        return chosen_trial(self._study)

    @property
    def _wanted(self) -> Training:
        assert self._best is not None
        return Training(of=self._best.number, fold=self._search.setup.fold, seed=self._search.setup.seed)

    def enlist(self) -> None:
        """Enqueue the training of the best trial unless it is done or has started; end that of an earlier best."""
        best = self._best
        if best is None:
            say(f"--final-train: no trial of study {self._study.study_name} is complete, so there is none to train.")
            return
        known = newest(self.trainings)
        others = [found for one, found in known.items() if one != self._wanted]
        leave_out(self.trainings, others)
        for found in others:
            if found.state == TrialState.RUNNING:
                say(f"{label(best)} is the best now: {TrialRecord(found).label} is not resumed.")
                # the trainings end such a trial, as they do if an earlier start has decided to prune it
                TrialRecord(optuna.Trial(self.trainings, found._trial_id)).pruned_at = last_epoch(found) or 0
        own = known.get(self._wanted)
        if own is None or own.state in (TrialState.FAIL, TrialState.PRUNED):
            enqueue_training(self.trainings, best.params, self._wanted, f"{label(best)}, train + val")

    def make_trainings(self) -> Trainings:
        """Return the object that runs the training."""
        return Trainings(self.trainings, self._search, self._book, lambda: None)

    def run(self, trainings: Trainings, hours: float | None) -> None:
        """Run the training, for at most `hours`; None: without a limit."""
        setup, best = self._search.setup, self._best
        assert best is not None
        say_smaller_batches(setup.train_size, [setup.recipe(best)])
        run_part(trainings, hours, f"Final training on train and val, {setup.train_size[1]} images")

    def models(self) -> list[dict[str, Any]]:
        """Return the journal's entry for the model to register; empty before the training is done."""
        done = self.done
        if done is None:
            return []
        record = TrialRecord(done)
        return [
            {
                "trial": owner_of_final(record.trained),
                "alias": "final",
                "checkpoint": stored_path(record.checkpoint),
                "metrics": ["loss"],
                "note": f"Trial {record.trained}, trained once more on train and val. Evaluate it on test.",
            }
        ]

    def as_json(self, tracker: Tracker) -> dict[str, Any] | None:
        """Return the training's entry in the command's JSON; None before it is done."""
        done = self.done
        if done is None:
            return None
        record = TrialRecord(done)
        return {
            "trial": record.trained,
            "checkpoint": record.checkpoint,
            "trained_on": list(TRAINED_ON_ALL_BUT_TEST),
            "evaluate": command_for_test(record.checkpoint, self._manifest),
            "mlflow_run_id": tracker.run_id(owner_of_final(record.trained)),
        }

    def lines(self) -> list[str]:
        """Return the lines at the end of the summary: the checkpoint, and the command that evaluates it."""
        done = self.done
        if done is None:
            waits = self._best is not None and self.failure is None
            return ["The final training is not done. Run the same command again to resume it."] if waits else []
        checkpoint = TrialRecord(done).checkpoint
        command = command_for_test(checkpoint, self._manifest)
        return [
            f"Final weights, of trial {TrialRecord(done).trained} trained on train and val: {checkpoint}",
            f"Evaluate:     {command}" if command else "No image is left to evaluate them on: there is no test split.",
        ]


class _BookOfFinal:
    """Passes the events of final trainings to the journal, each for a run of its own in MLflow."""

    def __init__(self, journal: Journal, study: optuna.Study) -> None:
        self._journal, self._study = journal, study

    def append(self, kind: str, **fields: Any) -> None:
        trial = self._study.get_trials(deepcopy=False)[fields["trial"]]
        fields["trial"] = owner = owner_of_final(TrialRecord(trial).trained)
        if kind != "trial" and owner not in self._journal.owners:
            return  # it was killed before its first attempt, and has no run
        if kind == "trial":
            trained_on = {"trained_on": " + ".join(TRAINED_ON_ALL_BUT_TEST)}
            tags: Mapping[str, str] = fields["tags"]
            own = {key: value for key, value in tags.items() if key not in WITHOUT_SAMPLING}
            fields |= {"params": fields["params"] | trained_on, "tags": own | trained_on}
        self._journal.append(kind, **fields)
