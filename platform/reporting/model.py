"""The sections about the best model on the validation split and the best finalist on the test split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from platform.finalize.compare import Comparison
from platform.reporting.content import Section
from platform.reporting.figures.figure import Figure
from platform.reporting.figures.of_model import figures_of_model
from platform.reporting.figures.verification import plot_verification
from platform.reporting.subject import Subject
from platform.terminal.lines import label
from platform.trial_record import TrialRecord
from shards_tools.command import say
from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from trainables.inference.verification import ASKED, count_split, measure
from trainables.training.checkpoint_store import fetched


def model_sections(
    subject: Subject, manifest: Manifest, best: FrozenTrial, final: Sequence[Comparison]
) -> tuple[list[Section], list[str]]:
    """Return a section for each split whose figures can be made, and the reasons for missing ones.

    Args:
        subject: the study.
        manifest: of its shards.
        best: its best trial.
        final: the finalists on the test split, the best first; empty if the test split has not been read.
    """
    wanted = [("val", f"{label(best)} on the validation split", TrialRecord(best).checkpoint)]
    tested = next((one for one in final if not math.isnan(one.mean)), None)
    if tested is not None:
        wanted += [("test", f"{tested.name} on the test split", place) for place in _first_seed(subject, tested.trial)]
    sections, missing = [], []
    for split, what, place in wanted:
        say(f"Making the figures of {what} ...")
        try:
            with fetched(place, ASKED) as checkpoint:
                figures = figures_of_model(checkpoint, manifest, split=split, fold=None)
                if split == "test":
                    figures += _of_pairs(checkpoint, manifest)
        except Error as reason:
            missing.append(f"Figures of {what} are missing: {reason}")
            continue
        title = "Best model on the validation split" if split == "val" else "Best finalist on the test split"
        # Prefixed, because the files of both splits are in one folder.
        figures = [replace(figure, name=f"{split}_{figure.name}") for figure in figures]
        sections.append(Section(title=title, paragraphs=[f"{what[0].upper()}{what[1:]}."], figures=figures))
    return sections, missing


def _first_seed(subject: Subject, number: int) -> list[str]:
    """Return the checkpoint of a finalist's first seed as a list; empty if no seed has completed."""
    own = {
        TrialRecord(trial).training["seed"]: str(TrialRecord(trial).checkpoint)
        for trial in subject.stored.final_trainings
        if TrialRecord(trial).trained == number and trial.state == TrialState.COMPLETE and TrialRecord(trial).checkpoint
    }
    return [own[min(own)]] if own else []


def _of_pairs(checkpoint: Path, manifest: Manifest) -> list[Figure]:
    """Return the verification figure, with thresholds from the validation split; empty for classes."""
    if manifest.layout == "classes":
        return []
    try:
        counts, _, _ = count_split(checkpoint, manifest, split="test")
        return [plot_verification(measure(checkpoint, manifest), counts)]
    except Error as reason:
        say(f"Omitted from the test figures of {checkpoint}: {reason}")
        return []
