"""`--dry-run` of a table: check the stores, measure a step, and print what the missing trainings will take."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from optuna.trial import TrialState

from platform.fixed_trials import newest
from platform.paper_tables.reproduction import Reproduction, space_of
from platform.paper_tables.trainings import missing
from platform.preflight.display import as_json, print_needs
from platform.preflight.dry_run import project
from platform.preflight.storage_checks import try_stores
from platform.preflight.suggestions import Suggestions
from platform.resources import Machine
from shards_tools.command import say


def dry_run(reproduction: Reproduction, machine: Machine) -> dict[str, Any]:
    """Check everything, print what the trainings will take, and return it for --json; nothing is stored.

    Raises:
        Error: the reproduction would fail; only the first problem is named.
    """
    own = reproduction.search
    study = try_stores(own)
    known = newest(study) if study else {}
    wanted = reproduction.trainings
    running = [one for one in wanted if one in known and known[one].state == TrialState.RUNNING]
    waiting = [one for one in wanted if one in known and known[one].state == TrialState.WAITING]
    num_left = len(missing(known, wanted)) + len(running) + len(waiting)
    num_done = len(wanted) - num_left
    # The space has only the requested rows, and the folds are already counted as trials.
    space = space_of(reproduction.table, own.setup.scale, reproduction.rows)
    search = replace(
        own,
        setup=replace(own.setup, space=space),
        budget=replace(own.budget, trials=len(wanted)),
        protocol=replace(own.protocol, folds=1),
    )
    suggestions = Suggestions(search.setup, search.goal.at_most)
    projection, largest = project(search, [machine], suggestions, num_done, len(running))
    sizes = {"rows": len(reproduction.rows), "folds": own.protocol.folds, "seeds": reproduction.seeds}
    parts = ", ".join(f"{what}: {number}" for what, number in sizes.items())
    print_needs(projection, largest, [("Trainings", f"{len(wanted)} ({parts}); {num_done} are done.")])
    say("Nothing was stored. Run the same command without --dry-run to start.")
    counts = {"wanted": len(wanted), "done": num_done, "left": num_left, **sizes}
    return {**as_json(projection, largest), "table": reproduction.table.name, "trainings": counts}
