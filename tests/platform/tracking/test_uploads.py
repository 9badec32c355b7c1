"""A start that is killed while MLflow gets a model leaves no files of it, once the next start has run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from platform.tracking.uploads import folder_of_uploads
from tests.platform.driver import ROOT, wait_until
from tests.platform.tracking.test_model_registry import tell, versions

TELL = """
import sys
from pathlib import Path

from tests.platform.tracking.test_model_registry import tell

folder, uri, checkpoint = sys.argv[1:]
tell(Path(folder), uri, Path(checkpoint), best=1)
"""


def test_what_a_killed_start_left_is_removed_and_a_planted_link_keeps_its_target(tmp_path: Path) -> None:
    (tmp_path / ".uploading" / "model").mkdir(parents=True)
    with folder_of_uploads(tmp_path) as uploads:
        assert list(uploads.iterdir()) == []
        (uploads / "model").mkdir()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (tmp_path / ".uploading").symlink_to(tmp_path / "precious")
    with folder_of_uploads(tmp_path) as uploads:
        assert not uploads.is_symlink()
        assert list(uploads.iterdir()) == []
    assert (tmp_path / "precious" / "file").exists()


@pytest.mark.slow
def test_a_start_killed_while_a_model_is_uploaded_leaves_no_files(checkpoint: Path, tmp_path: Path) -> None:
    temporary, study, uri = tmp_path / "temporary", tmp_path / "s", f"sqlite:///{tmp_path}/mlflow.db"
    temporary.mkdir()
    words = [sys.executable, "-c", TELL, str(tmp_path), uri, str(checkpoint)]
    environment = {**os.environ, "TMPDIR": str(temporary), "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        packaged = lambda: any(study.glob(".uploading/*/model/MLmodel"))  # noqa: E731
        wait_until(lambda: packaged() or process.poll() is not None, 300, "a model on its way")
        assert process.poll() is None, (tmp_path / "log").read_text()
    finally:
        process.kill()
        process.wait()
    assert any(study.glob(".uploading/*"))
    assert list(temporary.rglob("*model*")) == []
    assert versions(tell(tmp_path, uri, checkpoint, best=1)) == {"1": "1", "2": "0"}
    assert not (study / ".uploading").exists()
