"""The metrics of a table's trainings: from validation or, if the paper prints a test split, from that split."""

from __future__ import annotations

from collections.abc import Mapping

import optuna
from optuna.trial import FrozenTrial, TrialState

from platform.evaluation import evaluate_split
from platform.finalize.trainings import note_scores
from platform.fixed_trials import Training
from platform.paper_tables.options import TablePlan
from platform.tracking.journal import Journal
from platform.trial_record import StudyRecord, TrialRecord
from shards_tools.command import say
from trainables.checkpoint import EVALUATED
from trainables.checkpoint_store import fetched
from trainables.evaluation import Metrics


def measured(
    study: optuna.Study,
    table_plan: TablePlan,
    known: Mapping[Training, FrozenTrial],
    journal: Journal,
    *,
    interrupted: bool,
) -> dict[Training, Metrics]:
    """Return the metrics of every completed training on the table's split, as fractions.

    The study stores the metrics on the test split, so that each checkpoint is evaluated only once.

    Args:
        study: the study of the trainings.
        table_plan: the plan of the table.
        known: the last trial of each training that has started.
        journal: where the test metrics are logged.
        interrupted: whether to skip checkpoints that have not been evaluated on the test split yet.
    """
    complete = {
        training: known[training]
        for training in table_plan.trainings
        if training in known and known[training].state == TrialState.COMPLETE
    }
    if table_plan.split == "val":
        return {training: dict(TrialRecord(trial).metrics) for training, trial in complete.items()}
    stored = StudyRecord(study).test_metrics
    found = {}
    for training, trial in complete.items():
        if trial.number in stored:
            found[training] = stored[trial.number]
        elif not interrupted:
            say(f"Evaluate {table_plan.label(training)} on the test split.")
            found[training] = _evaluated(study, table_plan, trial)
        if training in found:  # also stored metrics: an earlier start may have died before it logged them
            scores = {f"test_{name}": value for name, value in found[training].items()}
            note_scores(journal, trial.number, trial.last_step or 0, "test", scores)
    return found


def _evaluated(study: optuna.Study, table_plan: TablePlan, trial: FrozenTrial) -> Metrics:
    with fetched(TrialRecord(trial).checkpoint, EVALUATED) as checkpoint:
        manifest = table_plan.search.setup.manifest
        metrics: Metrics = evaluate_split(checkpoint, manifest, split="test", fold=None)["metrics"]
    StudyRecord(study).store_test_metrics(trial.number, metrics)
    return metrics
