"""Summarize the results of a study in a few sentences and numbers, and as JSON."""

from __future__ import annotations

import math
from typing import Any

from optuna.trial import FrozenTrial

from platform.finalize.compare import Comparison
from platform.objectives import written
from platform.read_only_study import StoredStudy, count, value_of
from platform.reporting.content import cell, spoken
from platform.reporting.subject import Subject
from platform.study import front
from platform.terminal.lines import label
from platform.trial_record import StudyRecord, TrialRecord


def main_numbers(subject: Subject) -> dict[str, Any]:
    """Return the main numbers of a study for `--json`, as fractions; unknown ones are None."""
    stored = subject.stored
    name, best, row = stored.objective, stored.best, stored.best_paper_row
    value, printed = (None if trial is None else value_of(trial, name) for trial in (best, row))
    return {
        "objective": list(stored.objectives) if len(stored.objectives) > 1 else name,
        "best": best and {"trial": best.number, "value": value, "params": best.params},
        "paper_row": row and {"trial": row.number, "row": TrialRecord(row).baseline, "value": printed},
        "difference": None if value is None or printed is None else value - printed,
        "chance": subject.chance().get(name),
        "trials": count(stored),
    }


def headline(subject: Subject, final: list[Comparison]) -> list[tuple[str, str, str]]:
    """Return the numbers at the top of the report, each as its name, its value and a remark."""
    stored = subject.stored
    name, best, row = stored.objective, stored.best, stored.best_paper_row
    chance, called = subject.chance().get(name), spoken(name)
    found = []
    if best is not None:
        value = value_of(best, name)
        found.append((f"best {called}", _percent(value), f"{label(best)}, validation split"))
        if row is not None and row.number != best.number:
            printed = value_of(row, name)
            found.append(("best paper row", _percent(printed), f"{TrialRecord(row).baseline}, trained here"))
            if value is not None and printed is not None:
                found.append(("difference", f"{100 * (value - printed):+.2f}", "points, validation split"))
    own = next((one for one in final if best is not None and one.trial == best.number), None)
    if own is not None and own.test is not None and own.test.num_pairs:
        found.append(
            ("difference on the test split", f"{100 * own.test.difference:+.2f}", f"points, p = {own.test.p:.3g}")
        )
    found.append(("chance", _percent(chance), "random features" if chance is not None else "the data cannot be read"))
    return found


def summarize(subject: Subject, folds: list[Comparison], final: list[Comparison]) -> str:
    """Return the result of the study in a few sentences.

    Args:
        folds: the comparison over folds; may be empty.
        final: the comparison on the test split; may be empty.
    """
    stored = subject.stored
    best = stored.best
    if best is None:
        return _no_result(stored)
    sentences = [_of_front(stored) if len(stored.objectives) > 1 else _of_best(subject, best)]
    for compared, what in ((folds, "Over {} folds,"), (final, "On the test split, read once, with {} seeds,")):
        own = next((one for one in compared if one.trial == best.number and not math.isnan(one.mean)), None)
        if own is None:
            own = next((one for one in compared if not math.isnan(one.mean)), None)
        if own is not None:
            sentences.append(_of_comparison(own, what.format(len(own.wanted)), compared))
    running = count(stored)["running"]
    if running:
        sentences.append(
            f"The search is not finished: {running} {'trial is' if running == 1 else 'trials are'} still running."
        )
    return " ".join(sentences)


def _of_best(subject: Subject, best: FrozenTrial) -> str:
    stored, name = subject.stored, subject.stored.objective
    value, chance, row = value_of(best, name), subject.chance().get(name), stored.best_paper_row
    how = " by its mean over folds" if StudyRecord(stored.study).best_by_mean is not None else ""
    text = f"The best of {len(stored.trials)} trials{how} is {label(best)},"
    text += f" with {spoken(name)} {_percent(value)} on the validation split"
    if row is not None and row.number != best.number:
        text += f". The best paper row, {TrialRecord(row).baseline.removeprefix('paper ')},"
        text += f" trained on the same data at the same scale, has {_percent(value_of(row, name))}"
    elif row is not None:
        text += ". It is itself a row of a paper"
    return f"{text}. Chance is {_percent(chance)}." if chance is not None else f"{text}."


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
        return f"The Pareto front of {len(stored.trials)} trials is one trial: {label(first)} with {ends[0]}."
    return (
        f"The Pareto front of {len(stored.trials)} trials has {len(best)} trials, from {label(first)} with {ends[0]} to"
        f" {label(last)} with {ends[1]}."
    )


def _of_comparison(own: Comparison, where: str, compared: list[Comparison]) -> str:
    std = "" if math.isnan(own.std) else f" ± {100 * own.std:.2f}"
    text = f"{where} {own.name} has {100 * own.mean:.2f}{std} %"
    row = next((one for one in compared if one.name == own.reference), None)
    if row is None or own.test is None or not own.test.num_pairs:
        return f"{text}."
    return f"{text}, and {own.reference} has {100 * row.mean:.2f} % (paired test: p = {own.test.p:.3g})."


def _no_result(stored: StoredStudy) -> str:
    number = count(stored)
    if not stored.trials:
        return "No trial has started yet."
    states = ", ".join(f"{num} {name}" for name, num in number.items() if num)
    return f"No trial is complete yet. Started: {len(stored.trials)} ({states})."


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{cell('mAP', value)} %"
