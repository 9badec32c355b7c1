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
from platform.report.subject import Subject


def folds_of(subject: Subject) -> list[Comparison]:
    """The candidates over the folds, the best mean first; empty where the search has not gone there."""
    stored = subject.stored
    if not stored.candidates:
        return []
    return compare_folds(
        stored.study,
        last_candidates(stored.candidates),
        folds=subject.folds,
        fold=stored.search["fold"],
        chance=subject.chance_over_folds(stored.objective),
    )


def finalists_of(subject: Subject) -> list[Comparison]:
    """The finalists on the test split; empty as long as it has not been read."""
    stored = subject.stored
    elected = stored.elected
    if not elected or not stored.test_metrics:
        return []
    seeds = seeds_of_finalists(stored.search["seed"], elected["asked"]["final_seeds"])
    tested = tested_scores(stored.final_trainings, stored.test_metrics, elected["trials"], seeds)
    metric = metric_of_test(subject)
    return compare_finalists(
        stored.study,
        tested,
        metric=metric,
        reference=elected["reference"],
        seeds=seeds,
        chance=subject.chance_of_test(metric),
    )


def metric_of_test(subject: Subject) -> str:
    """What the finalists are compared by: the objective, or what the test split has in its place."""
    scores = next(iter(subject.stored.test_metrics.values()))
    return subject.stored.objective if subject.stored.objective in scores else str(next(iter(scores)))


def stages_section(subject: Subject, folds: list[Comparison], final: list[Comparison]) -> Section | None:
    """Both tables; None where the search has neither."""
    tables, says = [], []
    if folds:
        title = f"Folds 0 to {subject.folds - 1}, the validation split of each: {spoken(subject.stored.objective)} %"
        tables.append(_table(title, "fold", folds, "the folds that the search did not choose by"))
    if final:
        title = f"Test split, read once: {spoken(metric_of_test(subject))} %"
        tables.append(_table(title, "seed", final, "seeds"))
    elif subject.stored.elected:
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
