"""The GPU window still runs: all of it at a small size on this machine, so that renames reach it too."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu_window import SECTIONS, main
from benchmarks.window.commands import GPU_TESTS

ROOT = Path(__file__).parents[2]
# Sections that are lists of cases, and how many cases each has at the small size.
NUM_ROWS = {"families": 32, "step": 21, "rows": 2, "compile": 4, "loader": 4}
# What this version cannot do, and the window measures.
MAY_FAIL = {("compile", "compiled and activation checkpointing")}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each section wrote down."""
    out = tmp_path_factory.mktemp("window") / "out"
    environment = {name: value for name, value in os.environ.items() if name not in ("SAKUGA_ROOM", "SAKUGA_CACHE")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "benchmarks/gpu_window.py", "--tiny", "--budget", "inf", "--out", str(out)],
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "failed: nothing; left out: nothing" in done.stdout
    lines = [json.loads(line) for line in (out / "window.jsonl").read_text().splitlines()]
    return {line["section"]: line for line in lines}


@pytest.mark.slow
def test_every_section_runs(found: dict[str, Any]) -> None:
    assert list(found) == list(SECTIONS)


@pytest.mark.slow
def test_every_case_gives_numbers(found: dict[str, Any]) -> None:
    assert {name: len(found[name]["rows"]) for name in NUM_ROWS} == NUM_ROWS
    failed = {
        (name, row.get("variant", row["recipe"])) for name in NUM_ROWS for row in found[name]["rows"] if "error" in row
    }
    assert failed <= MAY_FAIL
    assert all(row["finite"] for row in found["families"]["rows"])
    speeds = {"step": "images_s", "rows": "images_per_second", "loader": "images_s"}
    assert all(row[speed] > 0 for name, speed in speeds.items() for row in found[name]["rows"])


@pytest.mark.slow
def test_what_has_no_rows_gives_numbers_too(found: dict[str, Any]) -> None:
    assert set(found["env"]["imports"].values()) == {"ok"}
    assert found["ceilings"]["bf16_tflops"] > 0
    assert all(shares["busy_share_of_wall"] > 0 for shares in tables(found["profile"]))
    assert [table["images_s"] > 0 for table in tables(found["evaluate"])] == [True] * 3
    assert [len(curves["mAP"]) for curves in tables(found["precision"])] == [2] * 4
    assert len(found["share"]["together"]) == 2
    assert found["share"]["together_of_alone"] > 0
    assert [step["factor"] > 0 for step in tables(found["one_step"])] == [True] * 2
    assert all(math.isfinite(loss) for case in tables(found["nccl"]) for loss in case["losses"])
    assert len(tables(found["nccl"])) == 3
    assert [found["search"][part]["rc"] for part in ("search", "gpu tests")] == [0, 0]
    assert found["train_step"]["rc"] == 0


@pytest.mark.slow
def test_a_resumed_training_ends_where_an_undisturbed_one_does(found: dict[str, Any]) -> None:
    assert found["resume"]["as it is: stopped"] == "stopped"
    assert [pair["weights_equal"] for pair in tables(found["resume"])] == [True, True]


def tables(section: dict[str, Any]) -> list[dict[str, Any]]:
    """The cases of a section that has one key for each."""
    return [value for value in section.values() if isinstance(value, dict)]


def test_without_a_gpu_nothing_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--out", str(tmp_path / "out")])
    shown = capsys.readouterr().out
    assert shown.count("\n") == 1
    assert "there is no GPU" in shown
    assert "--tiny" in shown
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [(("--only", "famlies"), "no section is called famlies"), (("--data", "no-shards"), "no-shards")],
)
def test_a_wrong_option_ends_before_anything_is_measured(
    words: tuple[str, str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--tiny", *words, "--out", str(tmp_path / "out")])
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_window_runs_every_file_with_gpu_tests() -> None:
    others = [path for path in ROOT.glob("tests/**/test_*.py") if path != Path(__file__)]
    assert set(GPU_TESTS) == {str(path.relative_to(ROOT)) for path in others if "mark.gpu" in path.read_text()}
