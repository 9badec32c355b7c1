"""The candidates over folds and the finalists on the test split, with mean, deviation and the exact paired test."""

from __future__ import annotations

import math

from platform.comparison.comparison import Comparison, notes_on
from platform.comparison.of_study import (
    compare_finalists,
    compare_folds,
    last_candidates,
    seeds_of_finalists,
    tested_scores,
)
from platform.report.content import NOTHING, Section, Table, cell, spoken
from platform.report.known import Known


def folds_of(known: Known) -> list[Comparison]:
    """The candidates over the folds, the best mean first; empty where the search has not gone there."""
    stored = known.stored
    if not stored.candidates:
        return []
    return compare_folds(
        stored.study,
        last_candidates(stored.candidates),
        folds=known.folds,
        fold=stored.search["fold"],
        chance=known.chance_over_folds(stored.objective),
    )


def finalists_of(known: Known) -> list[Comparison]:
    """The finalists on the test split; empty as long as it has not been read."""
    stored = known.stored
    elected = stored.final.get("elected")
    if not elected or not any(name.startswith("test ") for name in stored.final):
        return []
    seeds = seeds_of_finalists(stored.search["seed"], elected["asked"]["final_seeds"])
    tested = tested_scores(stored.final_trainings, stored.final, elected["trials"], seeds)
    metric = metric_of_test(known)
    return compare_finalists(
        stored.study,
        tested,
        metric=metric,
        reference=elected["reference"],
        seeds=seeds,
        chance=known.chance_of_test(metric),
    )


def metric_of_test(known: Known) -> str:
    """What the finalists are compared by: the objective, or what the test split has in its place."""
    scores = next(value for name, value in known.stored.final.items() if name.startswith("test "))
    return known.stored.objective if known.stored.objective in scores else str(next(iter(scores)))


def stages_section(known: Known, folds: list[Comparison], final: list[Comparison]) -> Section | None:
    """Both tables; None where the search has neither."""
    tables, says = [], []
    if folds:
        title = f"Folds 0 to {known.folds - 1}, the validation split of each: {spoken(known.stored.objective)} %"
        tables.append(_table(title, "fold", folds, "the folds that the search did not choose by"))
    if final:
        title = f"Test split, read once: {spoken(metric_of_test(known))} %"
        tables.append(_table(title, "seed", final, "seeds"))
    elif known.stored.final.get("elected"):
        says.append("The finalists are not all trained: the test split is locked until they are.")
    return Section(title="Folds and finalists", says=says, tables=tables) if tables or says else None


def _table(title: str, kind: str, compared: list[Comparison], pairs: str) -> Table:
    wanted = compared[0].wanted
    lines = []
    for one in compared:
        test = one.test if one.test and one.test.num_pairs else None
        lines.append((
            one.name,
            _percent(one.mean),
            _percent(one.std),
            *(_percent(one.values.get(at, math.nan)) for at in wanted),
            f"{100 * test.difference:+.2f}" if test else NOTHING,
            f"{test.p:.3g}" if test else NOTHING,
        ))  # fmt: skip
    lines.append(("chance", _percent(compared[0].chance), *[NOTHING] * (len(wanted) + 3)))
    columns = ["", "mean", "deviation", *(f"{kind} {at}" for at in wanted), "difference", "p"]
    return Table(title=title, columns=columns, rows=lines, notes=notes_on(compared, pairs))


def _percent(value: float) -> str:
    return cell("mAP", value)
