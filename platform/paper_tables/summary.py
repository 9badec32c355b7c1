"""Summaries of a reproduced table: the command's JSON, and the study's run in MLflow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna

from platform.fixed_trials import is_left_out
from platform.paper_tables.options import TablePlan
from platform.paper_tables.results import Result
from platform.paper_tables.written import as_markdown
from platform.resilient_storage import without_password
from platform.tracking.descriptions import NOTE
from platform.tracking.mlflow_sink import Tracker


def study_event(table_plan: TablePlan, study: optuna.Study, results: Sequence[Result]) -> dict[str, Any]:
    """Return the event for the study's run in MLflow: the table as its description, and the means as metrics."""
    means = {f"mean_{one.metric}_{one.recipe}": one.mean / 100 for one in results if not math.isnan(one.mean)}
    chance = {f"chance_{name}": table_plan.search.goal.chance[name] for name in table_plan.table.metrics}
    return {
        "trial": None,
        "checkpoint": None,
        "tags": {**count_states(study), "table": table_plan.table.title, NOTE: as_markdown(table_plan, results)},
        "metrics": {**chance, **means},
        "models": [],
    }


def summary(
    table_plan: TablePlan,
    study: optuna.Study,
    results: Sequence[Result],
    files: Sequence[Path],
    tracker: Tracker,
    seconds: float,
) -> dict[str, Any]:
    """Return the JSON of the command; the rows' metrics are in percent."""
    setup, stores = table_plan.search.setup, table_plan.search.stores
    return {
        "study": stores.study,
        "table": table_plan.table.name,
        "paper": table_plan.table.paper,
        "scale": setup.scale,
        "data": setup.data,
        "split": table_plan.split,
        "folds": table_plan.search.protocol.folds,
        "seeds": table_plan.seeds,
        "epochs": setup.epochs,
        "rows": [result.as_json() for result in results],
        "trials": count_states(study),
        "files": [str(file) for file in files],
        "tracking_uri": without_password(stores.tracking),
        "tracking": "behind" if tracker.unsent else "ok",
        "storage": without_password(stores.storage),
        "seconds": round(seconds, 1),
    }


def count_states(study: optuna.Study) -> dict[str, int]:
    """Return the number of trials that ended in each state; a diverged training counts as pruned."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if not is_left_out(trial)]
    states = [trial.state.name for trial in trials]
    return {name: states.count(state) for name, state in STATES.items()}


STATES = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
