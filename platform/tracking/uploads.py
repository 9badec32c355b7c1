"""The folder of files on their way to MLflow, in the study's folder: a killed start leaves files nowhere else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def folder_of_uploads(study: Path) -> Iterator[Path]:
    """Yield an empty hidden folder in the study's folder, which is removed at the end.

    What a killed start has left there is removed first. That start has not recorded its upload as done, so the next
    one repeats it.
    """
    uploads = study / ".uploading"
    if uploads.is_symlink():
        uploads.unlink()
    shutil.rmtree(uploads, ignore_errors=True)
    uploads.mkdir()
    try:
        yield uploads
    finally:
        shutil.rmtree(uploads, ignore_errors=True)
