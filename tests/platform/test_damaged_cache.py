"""A search whose decoded pixels were damaged makes them again, says so in one line, and finds the same values."""

import os
from pathlib import Path

import pytest

from shards_tools.cache import PIXELS_NAME
from tests.platform.driver import run_search, stored_trials

pytestmark = pytest.mark.slow


def test_damaged_pixels_cost_a_search_one_line_and_no_value(
    small_space: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("SAKUGA_CACHE", str(cache))
    values, lines = {}, {}
    for name in ("undisturbed", "cut", "purged"):
        for file in cache.glob(f"pixels-*/{PIXELS_NAME}"):
            os.truncate(file, 1000) if name == "cut" else file.unlink()
        runs = tmp_path / name
        words = ["--space", small_space, "--data", shards, "--runs", runs, "--trials", 2, "--concurrency", 1]
        _, printed = run_search(*words)
        lines[name] = [line for line in printed.splitlines() if "checksum" in line and "rebuilt" in line]
        values[name] = [trial.value for trial in stored_trials(runs / "optuna.db")]
    assert values["cut"] == values["purged"] == values["undisturbed"]
    assert lines["undisturbed"] == []
    num_sizes = len(list(cache.glob("pixels-*")))
    assert 0 < len(lines["cut"]) <= num_sizes, "one for each size of images that it decodes"
    assert len(lines["purged"]) == len(lines["cut"])
