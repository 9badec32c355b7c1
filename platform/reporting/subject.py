"""The input of a report: the stored study, and the manifest of its data if it can be read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from platform.protocol import kept_test_fold
from platform.read_only_study import StoredStudy
from platform.trial_record import StudyRecord
from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from shards_tools.manifest_file import read_manifest
from trainables.evaluation.evaluation import Evaluation


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A study and its data."""

    stored: StoredStudy
    data: str | None  # the address of the shards; None if it is unknown
    manifest: Manifest | None = field(repr=False)
    why_no_manifest: str = ""

    @property
    def folds(self) -> int:
        """The number of folds on which the best trials were trained."""
        return StudyRecord(self.stored.study).folds

    def chance(self, fold: int | None = None) -> Mapping[str, float]:
        """Return the metrics of random features on the validation split; empty if they are unknown.

        Args:
            fold: None: the fold that the search validates on.
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
        """Return the chance level of a metric as a mean over the folds; NaN if it is unknown."""
        return float(np.mean([self.chance(fold).get(name, math.nan) for fold in range(self.folds)]))

    def chance_of_test(self, name: str) -> float:
        """Return the chance level of a metric on the test split; NaN if it is unknown."""
        remembered = self.stored.last_start.get("chance_test")
        if remembered is None and self.manifest is not None:
            remembered = Evaluation(self.manifest, "test", self.stored.search["fold"]).chance()
        return float((remembered or {}).get(name, math.nan))


def subject_of(stored: StoredStudy, data: str | None) -> Subject:
    """Return a study with the manifest of its data, or with the reason why that cannot be read.

    Args:
        data: the address of the shards; None: the address that the study recorded.

    Raises:
        Error: the shards at `data` cannot be read, or are not those of the study.
    """
    address = data or stored.last_start.get("data")
    if address is None:
        why = "The study does not record the address of its data. Pass it with --data SHARDS."
        return Subject(stored=stored, data=None, manifest=None, why_no_manifest=why)
    try:
        manifest = read_manifest(address)
    except Error as reason:
        if data is not None:
            raise
        why = f"The data of the study cannot be read: {reason} Or pass their address with --data SHARDS."
        return Subject(stored=stored, data=address, manifest=None, why_no_manifest=why)
    if manifest.fingerprint != stored.search["data"]:
        if data is not None:
            raise Error(
                f"--data {data} has fingerprint {manifest.fingerprint[:8]}, but the data of study {stored.name} have"
                f" {stored.search['data'][:8]}. Pass the shards that the study was started with."
            )
        why = f"The data at {address} are not those of the study. Pass their address with --data SHARDS."
        return Subject(stored=stored, data=address, manifest=None, why_no_manifest=why)
    test_fold = kept_test_fold(stored.study)
    if test_fold is not None and manifest.layout == "five-fold":
        manifest = manifest.with_test_fold(test_fold)
    return Subject(stored=stored, data=address, manifest=manifest)
