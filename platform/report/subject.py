"""What a report is written from: the study, and what its data say where they can be read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from platform.protocol import kept_test_fold
from platform.stored_study import StoredStudy
from platform.trial_record import StudyRecord
from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from shards_tools.manifest_file import read_manifest
from trainables.evaluation import Evaluation


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A study and its data."""

    stored: StoredStudy
    data: str | None  # address of the shards; None: the study does not say, and nobody else did
    manifest: Manifest | None = field(repr=False)
    why_no_manifest: str = ""

    @property
    def folds(self) -> int:
        """How many folds its best trials have gone to."""
        return StudyRecord(self.stored.study).folds

    def chance(self, fold: int | None = None) -> Mapping[str, float]:
        """What random features give on validation, by metric; empty where that is not known.

        Args:
            fold: None: the one that the search validates on.
        """
        start, own = self.stored.last_start, self.stored.search["fold"]
        fold = own if fold is None else fold
        if fold == own and "chance" in start:
            remembered: Mapping[str, float] = start["chance"]
            return remembered
        by_fold: Sequence[Mapping[str, float]] = start.get("chance_by_fold", ())
        if fold < len(by_fold):
            return by_fold[fold]
        return {} if self.manifest is None else Evaluation(self.manifest, "val", fold).chance()

    def chance_over_folds(self, name: str) -> float:
        """Mean over the folds; NaN where that is not known."""
        return float(np.mean([self.chance(fold).get(name, math.nan) for fold in range(self.folds)]))

    def chance_of_test(self, name: str) -> float:
        """On the test split; NaN where that is not known."""
        remembered = self.stored.last_start.get("chance_test")
        if remembered is None and self.manifest is not None:
            remembered = Evaluation(self.manifest, "test", self.stored.search["fold"]).chance()
        return float((remembered or {}).get(name, math.nan))


def subject_of(stored: StoredStudy, data: str | None) -> Subject:
    """The study with the data at `data`, or where it remembers them; Error where `data` are others, or not there."""
    address = data or stored.last_start.get("data")
    if address is None:
        why = "This study does not say where its data lie: name them with --data SHARDS."
        return Subject(stored=stored, data=None, manifest=None, why_no_manifest=why)
    try:
        manifest = read_manifest(address)
    except Error as reason:
        if data is not None:
            raise
        why = f"The data that the study remembers cannot be read: {reason} Or name them with --data SHARDS."
        return Subject(stored=stored, data=address, manifest=None, why_no_manifest=why)
    if manifest.fingerprint != stored.search["data"]:
        if data is not None:
            raise Error(
                f"--data {data} are other data (fingerprint {manifest.fingerprint[:8]}) than those of study"
                f" {stored.name} ({stored.search['data'][:8]}). Name the shards that it was searched on."
            )
        why = f"What lies at {address} are other data than the study's. Name them with --data SHARDS."
        return Subject(stored=stored, data=address, manifest=None, why_no_manifest=why)
    test_fold = kept_test_fold(stored.study)
    if test_fold is not None and manifest.layout == "five-fold":
        manifest = manifest.with_test_fold(test_fold)
    return Subject(stored=stored, data=address, manifest=manifest)
