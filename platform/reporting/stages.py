"""The section with the candidates over folds and the finalists on the test split, and the exact paired test."""

from __future__ import annotations

from platform.finalize.compare import Comparison, comparison_rows, notes_on
from platform.finalize.compare_study import (
    compare_finalists,
    compare_folds,
    last_candidates,
    seeds_of_finalists,
    tested_scores,
)
from platform.reporting.content import NOTHING, Section, Table, spoken
from platform.reporting.subject import Subject


def folds_of(subject: Subject) -> list[Comparison]:
    """Return the candidates over the folds, the best mean first; empty if there are none yet."""
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
    """Return the finalists on the test split; empty until it has been read."""
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
    """Return the metric that compares the finalists: the objective, or its substitute on the test split."""
    scores = next(iter(subject.stored.test_metrics.values()))
    return subject.stored.objective if subject.stored.objective in scores else str(next(iter(scores)))


def stages_section(subject: Subject, folds: list[Comparison], final: list[Comparison]) -> Section | None:
    """Return the section with both tables, or None if the search has neither."""
    tables, paragraphs = [], []
    if folds:
        title = f"Folds 0 to {subject.folds - 1}, the validation split of each: {spoken(subject.stored.objective)} %"
        tables.append(_table(title, "fold", folds, "the folds that were not used for selection"))
    if final:
        title = f"Test split, read once: {spoken(metric_of_test(subject))} %"
        tables.append(_table(title, "seed", final, "seeds"))
    elif subject.stored.elected:
        paragraphs.append("The test split is locked until all finalists are trained.")
    return Section(title="Folds and finalists", paragraphs=paragraphs, tables=tables) if tables or paragraphs else None


def _table(title: str, kind: str, compared: list[Comparison], pairs: str) -> Table:
    columns = ["", "mean", "deviation", *(f"{kind} {at}" for at in compared[0].wanted), "difference", "p"]
    return Table(title=title, columns=columns, rows=comparison_rows(compared, NOTHING), notes=notes_on(compared, pairs))
