"""Where a search stores its state and its results."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path

from shards_tools.errors import Error
from shards_tools.folders import try_to_write

STORAGE_NAME = "optuna.db"  # under --runs
TRACKING_NAME = "mlflow.db"


def default_storage(runs: Path) -> str:
    """Return the URL of Optuna's database without --storage."""
    return f"sqlite:///{runs / STORAGE_NAME}"


def default_tracking(runs: Path) -> str:
    """Return the URI of MLflow's store without --tracking."""
    return f"sqlite:///{runs / TRACKING_NAME}"


def make_runs(runs: Path) -> None:
    """Create the folder of --runs if it is missing.

    Raises:
        Error: this user may not write to it.
    """
    try:
        runs.mkdir(parents=True, exist_ok=True)
        try_to_write(runs)
    except OSError as failure:
        remedy = (
            "Free space on that disk" if failure.errno == errno.ENOSPC else "Give a folder that this user may write to"
        )
        raise Error(f"--runs {runs} cannot be written: {failure.strerror}. {remedy}.") from None


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
