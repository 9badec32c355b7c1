"""What a search prints of itself as JSON, here of a study whose trials have all been pruned."""

import json
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from platform import start as start_module
from platform.resolved_search import ResolvedSearch
from platform.search import main

KEYS = (
    *("study", "scale", "data", "objective", "chance", "best", "trials"),
    *("tracking_uri", "tracking", "storage", "seconds", "folds", "finalists", "final"),
)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("store", "status"), [("sqlite:///{}/mlflow.db", "ok"), ("http://127.0.0.1:9", "failed")], ids=["ok", "failed"]
)
def test_the_json_of_a_finished_search_says_whether_mlflow_has_everything(
    store: str,
    status: str,
    search: ResolvedSearch,
    study: optuna.Study,
    small_space: Path,
    shards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for _ in range(6):
        trial = study.ask()
        search.setup.recipe(trial)
        study.tell(trial, state=TrialState.PRUNED)
    if status == "failed":
        monkeypatch.setattr(start_module, "LONGEST_WAIT_FOR_MLFLOW_S", 5.0)
    words = ["--space", small_space, "--data", shards, "--runs", search.stores.runs, "--trials", 6]
    main([*map(str, words), "--tracking", store.format(tmp_path), "--json"])
    out, screen = capsys.readouterr()
    found = json.loads(out.splitlines()[-1])
    assert sorted(found) == sorted(KEYS)
    assert (found["best"], found["trials"]) == (None, {"complete": 0, "pruned": 6, "failed": 0})
    assert found["tracking"] == status
    assert ("MLflow lacks some events" in screen) == (status == "failed")
