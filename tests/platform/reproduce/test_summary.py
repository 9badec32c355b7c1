"""What a start of a table says of itself: its JSON, and its line and its sections in a report."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from platform import start as start_module
from platform.paper_tables.reproduction import Reproduction
from platform.read_only_study import StoredStudy, count
from platform.reporting.course import ended_section, trials_section
from platform.reproduce import main
from tests.platform.reproduce.conftest import end_next, start


@pytest.mark.parametrize(
    ("store", "state"), [("sqlite:///{}/mlflow.db", "ok"), ("http://127.0.0.1:9", "failed")], ids=["ok", "failed"]
)
def test_the_json_says_whether_mlflow_has_everything(
    store: str,
    state: str,
    reproduction_of: Callable[..., Reproduction],
    shards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    end_next(start(reproduction_of("--rows", "ViT-Base")))  # nothing is left to train
    if state == "failed":
        monkeypatch.setattr(start_module, "LONGEST_WAIT_FOR_MLFLOW_S", 5.0)
    words = [
        "lsasrd-5",
        "--rows",
        "ViT-Base",
        "--data",
        str(shards),
        "--scale",
        "tiny",
        "--runs",
        str(tmp_path / "runs"),
    ]
    main([*words, "--tracking", store.format(tmp_path), "--json"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["tracking"] == state


def test_a_training_that_was_left_out_is_not_in_the_report(reproduction_of: Callable[..., Reproduction]) -> None:
    start(reproduction_of("--rows", "ViT-Base", "ViT-Stride"))
    study = start(reproduction_of("--rows", "ViT-Stride"))
    end_next(study)
    stored = StoredStudy(study=study)
    assert count(stored) == {"complete": 1, "pruned": 0, "failed": 0, "running": 0}
    assert ended_section(stored).paragraphs == ["No trial was pruned or failed."]
    assert [row[0] for row in trials_section(stored).tables[0].rows] == ["1"]
