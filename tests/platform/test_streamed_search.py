"""A search whose trials stream their images over HTTP ends every trial, and one at a time twice it is the same."""

from pathlib import Path
from typing import Any

import pytest

from tests.platform.driver import run_search, stored_trials
from tests.shards_tools.stores.servers import Web

pytestmark = pytest.mark.slow

NUM_TRIALS = 4


def values_of(runs: Path) -> list[tuple[dict[str, Any], dict[int, float]]]:
    return [(trial.params, trial.intermediate_values) for trial in stored_trials(runs / "optuna.db")]


def test_a_streamed_search_ends_and_twice_it_is_the_same(
    shards: Path, small_space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Web() as server:
        server.files = {f"/set/{file.name}": file.read_bytes() for file in shards.iterdir()}
        words = ("--space", small_space, "--data", f"{server.address}/set", "--reading", "stream")
        more = ("--trials", NUM_TRIALS, "--concurrency", 1)
        summaries = [run_search(*words, *more, "--runs", tmp_path / name)[0] for name in ("first", "second")]
        asked = [line for line in server.asked if line.startswith("GET /set/shard-")]
    for summary in summaries:
        assert summary["trials"]["failed"] == 0
        assert summary["trials"]["complete"] + summary["trials"]["pruned"] == NUM_TRIALS
    assert values_of(tmp_path / "first") == values_of(tmp_path / "second")
    assert summaries[0]["best"]["value"] == summaries[1]["best"]["value"]
    assert {trial.user_attrs["reading"] for trial in stored_trials(tmp_path / "first" / "optuna.db")} == {"stream"}
    assert asked
    assert all(line.split()[-1].count("-") == 1 for line in asked), "byte ranges"
