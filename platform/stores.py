"""Where a search stores its state and its results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Stores:
    """The name of a study, and the folders, databases and buckets that hold it."""

    study: str
    runs: Path
    storage: str  # URL of Optuna's database
    tracking: str  # URI of MLflow's store
    checkpoints: str | None = None  # address of a folder in a bucket; None: under `runs`

    @property
    def folder(self) -> Path:
        """The folder of this study's journal, its lock and, without a bucket, its checkpoints."""
        return self.runs / self.study
