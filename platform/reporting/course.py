"""The sections about the course of a search: pruned and failed trials, cost, environment, and all trials."""

from __future__ import annotations

import math
from collections import defaultdict

from optuna.trial import FrozenTrial, TrialState

from platform.objectives import COSTS
from platform.read_only_study import StoredStudy, count, num_epochs, value_of
from platform.reporting.content import NOTHING, Section, Table, cell, heading, spoken
from platform.reporting.subject import Subject
from platform.trial_record import TrialRecord
from shards_tools.manifest import Manifest

NOT_WORKS = ("classes", "identities")  # layouts with these in place of works
MAX_REASONS = 20
MAX_NUMBERS = 12
MAX_LISTED = 1000  # trials; a browser is slow with tables of many thousand rows


def ended_section(stored: StoredStudy) -> Section:
    """Return the section that groups pruned and failed trials by the reason."""
    by_reason: dict[tuple[str, str], list[FrozenTrial]] = defaultdict(list)
    for trial in stored.trials:
        if trial.state in (TrialState.PRUNED, TrialState.FAIL):
            state = "pruned" if trial.state == TrialState.PRUNED else "failed"
            by_reason[state, TrialRecord(trial).reason or "no reason recorded"].append(trial)
    entries = sorted(by_reason.items(), key=lambda entry: -len(entry[1]))
    name = stored.objective
    rows = [
        (reason, state, str(len(trials)), _numbers(trials), cell(name, _best_value(trials, name)))
        for (state, reason), trials in entries[:MAX_REASONS]
    ]
    left_out = len(entries) - len(rows)
    notes = [f"{left_out} more reasons are listed in trials.csv."] if left_out > 0 else []
    title = "Pruned and failed trials"
    if not rows:
        return Section(title=title, paragraphs=["No trial was pruned or failed."])
    columns = ["reason", "state", "count", "trials", f"their best {spoken(name)}{'' if name in COSTS else ' %'}"]
    return Section(title=title, tables=[Table(title="Reasons", columns=columns, rows=rows, notes=notes)])


def cost_section(subject: Subject) -> Section:
    """Return the section with the hours and epochs that the search took, and the epochs that pruning saved."""
    stored, trials = subject.stored, subject.stored.trials
    ended = count(stored)
    spent = sum(num_epochs(trial) for trial in trials)
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED]
    saved = sum(max(0, stored.search["epochs"] - num_epochs(trial)) for trial in pruned)
    parts = [*stored.fold_trainings, *stored.final_trainings, *stored.trained_on_val]
    hours = _seconds(trials) / 3600
    rows = [
        ("trials", ", ".join(f"{number} {state}" for state, number in ended.items() if number) or "none"),
        ("trial hours", f"{hours:.2f}"),
    ]
    if parts:
        rows.append(("hours of further trainings: folds, finalists, train + val", f"{_seconds(parts) / 3600:.2f}"))
    gpus = stored.last_start.get("gpus_per_trial", 0)
    if gpus:
        rows.append(("GPU hours", f"{(hours + _seconds(parts) / 3600) * gpus:.2f}"))
    rows.append(("time from first start to last end", _span(trials)))
    rows.append(("epochs trained", str(spent)))
    if pruned:
        rows.append(("epochs saved by pruning", f"at most {saved}, {100 * saved / (saved + spent):.0f} % of all"))
    notes = ["The hours of a trial are the sum over its epochs. Trials that ran at the same time shared the machine."]
    return Section(title="Cost", tables=[Table(title="Hours and epochs", columns=("", ""), rows=rows, notes=notes)])


def environment_section(subject: Subject) -> Section:
    """Return the section with the options and data of the search, and the machine and versions of its last start."""
    stored = subject.stored
    start = stored.last_start
    what = {name: value for name, value in stored.search.items() if name not in ("distributions", "data")}
    rows = [(name, str(value)) for name, value in what.items() if value is not None]
    data = subject.data or "unknown"
    rows += [("data", data), ("data fingerprint", stored.search["data"])]
    if subject.manifest is not None:
        rows.append(("data size", _size(subject.manifest)))
    tables = [Table(title="The search", columns=("", ""), rows=rows)]
    versions = start.get("environment", {})
    if versions:
        machine = [(name, str(value)) for name, value in versions.items()]
        tables.append(Table(title="Machine and versions of the last start", columns=("", ""), rows=machine))
    unknown = [] if versions else ["The machine and versions are unknown, because an earlier version wrote the study."]
    return Section(title="Search and environment", paragraphs=unknown, tables=tables)


def trials_section(stored: StoredStudy) -> Section:
    """Return the section that lists all trials, or the best ones of a large study."""
    names, trials, title = [*stored.objectives], stored.trials, f"{len(stored.trials)} trials"
    if len(trials) > MAX_LISTED:
        title = f"The best {MAX_LISTED} of {len(trials)} trials by {spoken(stored.objective)} after their last epoch"
        ranked = sorted(trials, key=lambda trial: _or_last(value_of(trial, stored.objective)), reverse=True)
        kept = {trial.number for trial in ranked[:MAX_LISTED]}
        trials = [trial for trial in trials if trial.number in kept]
    rows = []
    for trial in trials:
        metrics = [cell(name, value_of(trial, name)) for name in names]
        note = TrialRecord(trial).baseline or TrialRecord(trial).reason or NOTHING
        seconds = TrialRecord(trial).total_seconds
        rows.append(
            (str(trial.number), trial.state.name.lower(), *metrics, str(num_epochs(trial)), f"{seconds:.0f}", note)
        )
    columns = ("trial", "state", *map(heading, names), "epochs", "seconds", "note")
    table = Table(title=title, columns=columns, rows=rows, folded=True)
    return Section(
        title="All trials",
        tables=[table] if rows else [],
        paragraphs=[
            "trials.csv also has the settings and all metrics of each trial."
            if len(trials) == len(stored.trials)
            else "trials.csv has all trials, with their settings and all metrics."
        ],
    )


def _size(manifest: Manifest) -> str:
    num, num_images = len(manifest.works), f"{manifest.num_images} images"
    if manifest.layout in NOT_WORKS:
        return f"{num_images}, {num} {manifest.layout}"
    return f"{num_images}, {num} works, {len(manifest.roles)} roles"


def _numbers(trials: list[FrozenTrial]) -> str:
    shown = ", ".join(str(trial.number) for trial in trials[:MAX_NUMBERS])
    return shown if len(trials) <= MAX_NUMBERS else f"{shown} and {len(trials) - MAX_NUMBERS} more"


def _best_value(trials: list[FrozenTrial], name: str) -> float | None:
    values = [value for trial in trials if (value := value_of(trial, name)) is not None]
    return max(values, default=None)


def _or_last(value: float | None) -> float:
    return -math.inf if value is None else value


def _seconds(trials: list[FrozenTrial]) -> float:
    return float(sum(TrialRecord(trial).total_seconds for trial in trials))


def _span(trials: list[FrozenTrial]) -> str:
    starts = [trial.datetime_start for trial in trials if trial.datetime_start]
    ends = [trial.datetime_complete for trial in trials if trial.datetime_complete]
    return f"{(max(ends) - min(starts)).total_seconds() / 3600:.2f} hours" if starts and ends else NOTHING
