"""What a study has found, in a sentence and four numbers; and the same numbers as JSON."""

from __future__ import annotations

import math
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from platform.comparison.comparison import Comparison
from platform.display.lines import label
from platform.objectives import written
from platform.report.content import cell, spoken
from platform.report.subject import Subject
from platform.stored_study import StoredStudy, count, value_of
from platform.study import front
from platform.trial_record import StudyRecord, TrialRecord


def main_numbers(subject: Subject) -> dict[str, Any]:
    """The best, the best of the papers' rows, chance and the difference, as fractions; what is not known is null."""
    stored = subject.stored
    name, best, row = stored.objective, stored.best, stored.best_paper_row
    value, printed = _number(best, name), _number(row, name)
    return {
        "objective": list(stored.objectives) if len(stored.objectives) > 1 else name,
        "best": best and {"trial": best.number, "value": value, "params": best.params},
        "paper_row": row and {"trial": row.number, "row": TrialRecord(row).baseline, "value": printed},
        "difference": None if value is None or printed is None else value - printed,
        "chance": subject.chance().get(name),
        "trials": count(stored),
    }


def headline(subject: Subject, final: list[Comparison]) -> list[tuple[str, str, str]]:
    """What, how much, of what: the few numbers that a reader wants first."""
    stored = subject.stored
    name, best, row = stored.objective, stored.best, stored.best_paper_row
    chance, called = subject.chance().get(name), spoken(name)
    found = []
    if best is not None:
        value = _number(best, name)
        found.append((f"best {called}", _percent(value), f"{label(best)}, validation split"))
        if row is not None and row.number != best.number:
            printed = _number(row, name)
            found.append(("best of the papers' rows", _percent(printed), f"{TrialRecord(row).baseline}, trained here"))
            if value is not None and printed is not None:
                found.append(("difference", f"{100 * (value - printed):+.2f}", "points, on validation"))
    own = next((one for one in final if best is not None and one.trial == best.number), None)
    if own is not None and own.test is not None and own.test.num_pairs:
        found.append(
            ("difference on the test split", f"{100 * own.test.difference:+.2f}", f"points, p = {own.test.p:.3g}")
        )
    found.append(("chance", _percent(chance), "of random features" if chance is not None else "the data are not here"))
    return found


def answer(subject: Subject, folds: list[Comparison], final: list[Comparison]) -> str:
    """What came out, for somebody who reads no further."""
    stored = subject.stored
    best = stored.best
    if best is None:
        return _not_yet(stored)
    sentences = [_of_front(stored) if len(stored.objectives) > 1 else _of_best(subject, best)]
    for compared, what in ((folds, "Over {} folds"), (final, "On the test split, read once, with {} seeds")):
        own = next((one for one in compared if one.trial == best.number and not math.isnan(one.mean)), None)
        if own is None:
            own = next((one for one in compared if not math.isnan(one.mean)), None)
        if own is not None:
            sentences.append(_of_comparison(own, what.format(len(own.wanted)), compared))
    running = count(stored)["running"]
    if running:
        sentences.append(
            f"The search is not over: {running} {'trial has' if running == 1 else 'trials have'} not ended."
        )
    return " ".join(sentences)


def _of_best(subject: Subject, best: FrozenTrial) -> str:
    stored, name = subject.stored, subject.stored.objective
    value, chance, row = _number(best, name), subject.chance().get(name), stored.best_paper_row
    how = ", by its mean over folds," if StudyRecord(stored.study).best_by_mean is not None else ""
    said = f"On the validation split {label(best)} is{how} the best of {len(stored.trials)}, with"
    said += f" {spoken(name)} {_percent(value)}"
    if row is not None and row.number != best.number:
        said += f"; the best of the papers' rows, {TrialRecord(row).baseline.removeprefix('paper ')}"
        said += f" trained on the same data at the same scale, has {_percent(_number(row, name))}"
    elif row is not None:
        said += ", and is itself a row of a paper"
    return f"{said}. Chance is {_percent(chance)}." if chance is not None else f"{said}."


def _of_front(stored: StoredStudy) -> str:
    best = front(stored.study)
    first, last = best[0], best[-1]
    ends = [
        ", ".join(
            f"{spoken(name)} {written(name, value)}"
            for name, value in zip(stored.objectives, trial.values, strict=True)
        )
        for trial in (first, last)
    ]
    if len(best) == 1:
        return f"Of {len(stored.trials)} trials one is as good as any in all: {label(first)} with {ends[0]}."
    return (
        f"Of {len(stored.trials)} trials {len(best)} are compromises that nothing beats, from {label(first)} with"
        f" {ends[0]} to {label(last)} with {ends[1]}."
    )


def _of_comparison(own: Comparison, where: str, compared: list[Comparison]) -> str:
    std = "" if math.isnan(own.std) else f" ± {100 * own.std:.2f}"
    said = f"{where} {own.name} has {100 * own.mean:.2f}{std} %"
    row = next((one for one in compared if one.name == own.reference), None)
    if row is None or own.test is None or not own.test.num_pairs:
        return f"{said}."
    return (
        f"{said}, {own.reference} {100 * row.mean:.2f} %; the paired test of the difference gives p = {own.test.p:.3g}."
    )


def _not_yet(stored: StoredStudy) -> str:
    number = count(stored)
    if not stored.trials:
        return "No trial has begun yet."
    states = ", ".join(f"{num} {name}" for name, num in number.items() if num)
    return f"No trial is complete yet: of {len(stored.trials)} begun there are {states}."


def _number(trial: FrozenTrial | None, name: str) -> float | None:
    """The objective that a trial ended with."""
    if trial is None:
        return None
    return trial.values[0] if trial.state == TrialState.COMPLETE else value_of(trial, name)


def _percent(value: float | None) -> str:
    return "not known" if value is None else f"{cell('mAP', value)} %"
