"""The section that compares the paper rows as measured here with the numbers in the papers."""

from __future__ import annotations

from platform.reporting.content import NOTHING, Section, Table, cell, heading
from platform.reporting.subject import Subject
from platform.trial_record import TrialRecord
from trainables.evaluation.metric_names import COLUMNS
from trainables.recipes import printed_numbers

TINY = (
    "At tiny scale the networks are narrow, shallow and briefly trained. Compare the rows measured here only with one"
    " another; the papers' numbers only identify the rows."
)
PAPER = (
    "The papers' numbers are for their own data and protocol (LSASRD: the mean of five folds). The numbers here are for"
    " this study's data and validation split."
)


# For baselines without a recipe, and for studies of version 0.1.0: the published table with the rows of each space, and
# rows that are in another table or have another name there.
TABLES = {
    "transreid": "LSASRD Table 5",
    "agw": "LSASRD Table 4",
    "dafre": "DAF:re Table 1",
    "moeimouto": "DAF:re Table 2",
    "animesion": "Animesion README",
    "animesion_vilt": "Animesion README",
    "icartoonface": "PaddleClas cartoon",
}
ELSEWHERE = {
    ("moeimouto", "SN, 224 px"): ("DAF:re Table 4", "SN"),
    ("moeimouto", "R-18, 224 px"): ("DAF:re Table 4", "R-18"),
    ("animesion_vilt", "ViLT L-16"): ("Animesion README", "ViLT L-16 (vision+tags)"),
}


def printed_row(space: str, baseline: TrialRecord) -> tuple[str, dict[str, float]]:
    """Return the published table with a baseline, and its numbers as fractions; both empty if there is none."""
    name = baseline.baseline.removeprefix("paper ")
    table, own = baseline.paper_row or ELSEWHERE.get((space, name), (TABLES.get(space, ""), name))
    numbers = printed_numbers(table, own)
    return (table if numbers else ""), numbers


def papers_section(subject: Subject) -> Section | None:
    """Return the section with the paper rows, or None if the space has none, or none has a value."""
    stored = subject.stored
    rows = [trial for trial in stored.baselines if TrialRecord(trial).is_paper_row]
    if not rows:
        return None
    space = stored.search["space"]
    printed = {trial.number: printed_row(space, TrialRecord(trial)) for trial in rows}
    published = {name for _, numbers in printed.values() for name in numbers}
    names = [name for name in COLUMNS if name in published or name in stored.objectives]  # in the papers' order
    columns = ["row", "trial"]
    for name in names:
        columns += [f"{heading(name)} here"] + ([f"{heading(name)} in paper"] if name in published else [])
    best = stored.best
    found = [
        (TrialRecord(trial).baseline, str(trial.number), TrialRecord(trial).metrics, *printed[trial.number])
        for trial in rows
    ]
    found += [("best found", str(best.number), TrialRecord(best).metrics, "", {})] if best else []
    found.append(("chance", NOTHING, subject.chance(), "", {}))
    lines = []
    for what, number, here, table, in_paper in found:
        line = [what, number]
        for name in names:
            line += [cell(name, here.get(name))] + ([cell(name, in_paper.get(name))] if name in published else [])
        lines.append([*line, table or NOTHING])
    notes = (
        [TINY if stored.search["scale"] == "tiny" else PAPER] if published else ["These rows are in no paper's tables."]
    )
    return Section(
        title="Compared with the papers",
        tables=[Table(title="Paper rows", columns=[*columns, "table"], rows=lines, notes=notes)],
    )
