"""`--dry-run` of a table: check the stores, measure a step, and print what the missing trainings will take."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from optuna.trial import TrialState

from platform.fixed_trials import newest
from platform.paper_tables.enqueue import missing
from platform.paper_tables.options import TablePlan
from platform.paper_tables.space import space_of
from platform.preflight.display import as_json, print_needs
from platform.preflight.dry_run import project
from platform.preflight.storage_checks import try_stores
from platform.preflight.suggestions import Suggestions
from platform.resources import Machine
from shards_tools.command import say


def dry_run(table_plan: TablePlan, machine: Machine) -> dict[str, Any]:
    """Check everything, print what the trainings will take, and return it for --json; nothing is stored.

    Raises:
        Error: the reproduction would fail; only the first problem is named.
    """
    study = try_stores(table_plan.search)
    known = newest(study) if study else {}
    wanted = table_plan.trainings
    running = [one for one in wanted if one in known and known[one].state == TrialState.RUNNING]
    waiting = [one for one in wanted if one in known and known[one].state == TrialState.WAITING]
    num_left = len(missing(known, wanted)) + len(running) + len(waiting)
    num_done = len(wanted) - num_left
    # The space has only the requested rows, and the folds are already counted as trials.
    space = space_of(table_plan.table, table_plan.search.setup.scale, table_plan.rows)
    search = replace(
        table_plan.search,
        setup=replace(table_plan.search.setup, space=space),
        budget=replace(table_plan.search.budget, trials=len(wanted)),
        protocol=replace(table_plan.search.protocol, folds=1),
    )
    suggestions = Suggestions(search.setup, search.goal.at_most)
    projection, largest = project(search, [machine], suggestions, num_done, len(running))
    sizes = {"rows": len(table_plan.rows), "folds": table_plan.search.protocol.folds, "seeds": table_plan.seeds}
    parts = ", ".join(f"{what}: {number}" for what, number in sizes.items())
    print_needs(projection, largest, [("Trainings", f"{len(wanted)} ({parts}); {num_done} are done.")])
    say("Nothing was stored. Run the same command without --dry-run to start.")
    counts = {"wanted": len(wanted), "done": num_done, "left": num_left, **sizes}
    return {**as_json(projection, largest), "table": table_plan.table.name, "trainings": counts}
