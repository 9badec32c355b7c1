"""How the search went: what was ended and why, what it cost, what it ran on, and every trial in a line."""

from __future__ import annotations

from collections import defaultdict

from optuna.trial import FrozenTrial, TrialState

from platform.objectives import COSTS
from platform.report.content import NOTHING, Section, Table, cell, heading, spoken
from platform.report.subject import Subject
from platform.stored_study import StoredStudy, count, num_epochs, value_of
from platform.trial_record import TrialRecord
from shards_tools.manifest import Manifest

NOT_WORKS = ("classes", "identities")  # layouts whose images are told apart by these
MOST_REASONS = 20
MOST_NUMBERS = 12


def ended_section(stored: StoredStudy) -> Section:
    """Why trials were ended before their last epoch, or failed."""
    by_reason: dict[tuple[str, str], list[FrozenTrial]] = defaultdict(list)
    for trial in stored.trials:
        if trial.state in (TrialState.PRUNED, TrialState.FAIL):
            state = "pruned" if trial.state == TrialState.PRUNED else "failed"
            by_reason[state, TrialRecord(trial).reason or "no reason given"].append(trial)
    entries = sorted(by_reason.items(), key=lambda entry: -len(entry[1]))
    name = stored.objective
    rows = [
        (reason, state, str(len(trials)), _numbers(trials), cell(name, _best_value(trials, name)))
        for (state, reason), trials in entries[:MOST_REASONS]
    ]
    left_out = len(entries) - len(rows)
    notes = [f"{left_out} more reasons stand in trials.csv."] if left_out > 0 else []
    if not rows:
        return Section(title="What was ended early", says=["No trial was ended before its last epoch."])
    columns = ["reason", "state", "how many", "trials", f"their best {spoken(name)}{'' if name in COSTS else ' %'}"]
    return Section(
        title="What was ended early", tables=[Table(title="Reasons", columns=columns, rows=rows, notes=notes)]
    )


def cost_section(subject: Subject) -> Section:
    """Hours, epochs, and what pruning saved."""
    stored, trials = subject.stored, subject.stored.trials
    ended = count(stored)
    spent = sum(num_epochs(trial) for trial in trials)
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED]
    saved = sum(max(0, stored.search["epochs"] - num_epochs(trial)) for trial in pruned)
    parts = [*stored.fold_trainings, *stored.final_trainings]
    hours = _seconds(trials) / 3600
    rows = [
        ("trials", ", ".join(f"{number} {state}" for state, number in ended.items() if number) or "none"),
        ("hours of trials", f"{hours:.2f}"),
    ]
    if parts:
        rows.append(("hours of trainings on folds and of finalists", f"{_seconds(parts) / 3600:.2f}"))
    gpus = stored.last_start.get("gpus_per_trial", 0)
    if gpus:
        rows.append(("hours of GPUs", f"{(hours + _seconds(parts) / 3600) * gpus:.2f}"))
    rows.append(("from first start to last end", _span(trials)))
    rows.append(("epochs trained", str(spent)))
    if pruned:
        rows.append(("epochs that pruning saved", f"{saved}, {100 * saved / (saved + spent):.0f} % of all, at most"))
    notes = ["A trial's hours are those of its epochs; trials that ran beside one another shared the machine."]
    return Section(title="What it cost", tables=[Table(title="Cost", columns=("", ""), rows=rows, notes=notes)])


def environment_section(subject: Subject) -> Section:
    """What the search is, and the machine and the versions of its last start."""
    stored = subject.stored
    start = stored.last_start
    what = {name: value for name, value in stored.search.items() if name not in ("distributions", "data")}
    rows = [(name, str(value)) for name, value in what.items() if value is not None]
    data = subject.data or "not known"
    rows += [("data", data), ("fingerprint of the data", stored.search["data"])]
    if subject.manifest is not None:
        rows.append(("size of the data", _size(subject.manifest)))
    tables = [Table(title="The search", columns=("", ""), rows=rows)]
    versions = start.get("environment", {})
    if versions:
        machine = [(name, str(value)) for name, value in versions.items()]
        tables.append(Table(title="The machine and versions of its last start", columns=("", ""), rows=machine))
    says = [] if versions else ["The study does not say on what it ran: an earlier version wrote it."]
    return Section(title="Search and environment", says=says, tables=tables)


def trials_section(stored: StoredStudy) -> Section:
    """Every trial in a line."""
    names = [*stored.objectives]
    rows = []
    for trial in stored.trials:
        metrics = [cell(name, value_of(trial, name)) for name in names]
        note = TrialRecord(trial).baseline or TrialRecord(trial).reason or NOTHING
        seconds = TrialRecord(trial).total_seconds
        rows.append(
            (str(trial.number), trial.state.name.lower(), *metrics, str(num_epochs(trial)), f"{seconds:.0f}", note)
        )
    columns = ("trial", "state", *map(heading, names), "epochs", "seconds", "note")
    table = Table(title=f"All {len(rows)} trials", columns=columns, rows=rows, folded=True)
    return Section(
        title="Every trial",
        tables=[table] if rows else [],
        says=["trials.csv has the settings and all metrics of each, too."],
    )


def _size(manifest: Manifest) -> str:
    num, num_images = len(manifest.works), f"{manifest.num_images} images"
    if manifest.layout in NOT_WORKS:
        return f"{num_images}, {num} {manifest.layout}"
    return f"{num_images}, {num} works, {len(manifest.roles)} roles"


def _numbers(trials: list[FrozenTrial]) -> str:
    shown = ", ".join(str(trial.number) for trial in trials[:MOST_NUMBERS])
    return shown if len(trials) <= MOST_NUMBERS else f"{shown} and {len(trials) - MOST_NUMBERS} more"


def _best_value(trials: list[FrozenTrial], name: str) -> float | None:
    values = [value for trial in trials if (value := value_of(trial, name)) is not None]
    return max(values, default=None)


def _seconds(trials: list[FrozenTrial]) -> float:
    return float(sum(TrialRecord(trial).total_seconds for trial in trials))


def _span(trials: list[FrozenTrial]) -> str:
    starts = [trial.datetime_start for trial in trials if trial.datetime_start]
    ends = [trial.datetime_complete for trial in trials if trial.datetime_complete]
    return f"{(max(ends) - min(starts)).total_seconds() / 3600:.2f} hours" if starts and ends else NOTHING
