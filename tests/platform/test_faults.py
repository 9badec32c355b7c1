"""A hundred faults in one long search, of machines and of people; it then equals an undisturbed one.

`SAKUGA_FAULTS=10 SAKUGA_FAULTS_SEED=3 python -m pytest -s tests/platform/test_faults.py` is a quick check.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from optuna.trial import FrozenTrial, TrialState

from platform.trial_record import TrialRecord
from shards_tools.sample import sample_set
from tests.platform.deeds import DEEDS, end_outside
from tests.platform.driver import (
    ROOT,
    assert_whole,
    command,
    end_family,
    has_epochs,
    mlflow_runs,
    stored_trials,
    wait_until,
)
from tests.platform.faults import FAULTS
from tests.platform.mlflow_server import MlflowServer
from tests.platform.postgres import running_server
from tests.platform.small_disk import mounted_disk
from tests.platform.storm import (
    FIRST_COMPARISON,
    PATIENCE_S,
    SPACE,
    TRIALS_PER_FAULT,
    Places,
    Storm,
    processes_of,
    rage,
)
from trainables.evaluation.metric_names import SYSTEM

pytestmark = [
    pytest.mark.slow,
    # MLflow's client, with which the tests look at its database, cannot be told to close its connections.
    pytest.mark.filterwarnings("ignore:Exception ignored in.*Connection:pytest.PytestUnraisableExceptionWarning"),
]

NUM_FAULTS = int(os.environ.get("SAKUGA_FAULTS", "100"))
SEED = int(os.environ.get("SAKUGA_FAULTS_SEED", "0"))
DISK_MB = 128
TMP_MB = 1024  # for the logs of Ray of every start
ALL_FAULTS = FAULTS | DEEDS
# What a training measures of itself, which no two trainings share.
MEASURED = ("seconds", "total_seconds", "images_per_second", "rss_mb", "gpu_mb", "ms_per_image", *SYSTEM)


@dataclass(frozen=True)
class Outcome:
    """What a search has left behind."""

    summary: dict[str, Any]
    trials: list[FrozenTrial]
    points: dict[int, dict[str, list[tuple[int, float]]]]  # trial -> metric -> (epoch, value) of every point in MLflow
    checkpoints: list[str]  # under --runs


def outcome(
    storm: Storm,
    storage: Path | str,
    tracking: Path | str,
    runs: Path,
    summary: dict[str, Any],
    deleted: Collection[int],
) -> Outcome:
    assert_whole(storage, tracking, summary, storm.num_trials, failed=storm.ended_outside, deleted=deleted)
    client = MlflowClient(f"sqlite:///{tracking}" if isinstance(tracking, Path) else tracking)
    assert sorted(found.name for found in client.search_experiments()) == sorted(["Default", summary["study"]])
    points = {}
    for run in mlflow_runs(tracking):
        if "trial" in run.data.tags:
            histories = {key: client.get_metric_history(run.info.run_id, key) for key in run.data.metrics}
            points[int(run.data.tags["trial"])] = {
                key: sorted((point.step, point.value) for point in history) for key, history in histories.items()
            }
    places = [path.parent for path in runs.rglob("checkpoint.json") if "artifacts" not in path.parts]
    checkpoints = [str(place.relative_to(runs)) for place in places]
    return Outcome(summary, stored_trials(storage), points, checkpoints)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder with a short name, for the sockets of Ray."""
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    (folder / "space.py").write_text(SPACE)
    yield folder
    shutil.rmtree(folder)


def words(folder: Path) -> list[object]:
    return ["--space", folder / "space.py", "--data", sample_set(), "--concurrency", 1]


@pytest.fixture(scope="module")
def stormy(folder: Path) -> Iterator[tuple[Outcome, Storm, Counter[str]]]:
    """The search that met the faults."""
    with (
        running_server() as postgres,
        mounted_disk(folder / "disk", DISK_MB) as disk,
        mounted_disk(folder / "tmp", TMP_MB) as tmp,
    ):
        storage, store = postgres.new_database("optuna"), postgres.new_database("mlflow")
        mlflow = MlflowServer(folder, store)
        mlflow.start()
        options = [*words(folder), "--storage", storage, "--tracking", mlflow.uri]
        num_trials = max(4, NUM_FAULTS * TRIALS_PER_FAULT)
        storm = Storm(options, num_trials, Places(folder, disk, tmp, "optuna"), postgres, mlflow)
        try:
            counts = rage(storm, ALL_FAULTS, NUM_FAULTS, SEED)
            wait_until(lambda: not processes_of(storm.mark), 60, "the end of every process of the search")
            print(storm.screen.read_text()[-2000:])
            summary = json.loads(storm.screen.with_suffix(".json").read_text().splitlines()[-1])
            yield outcome(storm, storage, store, storm.runs, summary, storm.deleted_runs), storm, counts
        finally:
            for process in processes_of(storm.mark):
                process.kill()
            mlflow.kill()


@pytest.fixture(scope="module")
def undisturbed(folder: Path, stormy: tuple[Outcome, Storm, Counter[str]]) -> Outcome:
    """The same search in peace, its stores in files. The same trials are ended in the study."""
    storm, runs = stormy[1], folder / "undisturbed"
    options = [*words(folder), "--trials", storm.num_trials, "--runs", runs]
    database, screen = runs / "optuna.db", folder / "undisturbed.json"
    with screen.open("w") as out:
        search = subprocess.Popen(command(*options), cwd=ROOT, stdout=out, start_new_session=True)
    try:
        for number in sorted(storm.ended_outside):
            has_begun = partial(has_epochs, database, number)
            wait_until(has_begun, PATIENCE_S, f"the first epoch of trial {number}")
            assert end_outside(f"sqlite:///{database}", number)
        assert search.wait() == 0
    finally:
        end_family(search)
    summary = json.loads(screen.read_text().splitlines()[-1])
    return outcome(storm, database, runs / "mlflow.db", runs, summary, ())


def told(trial: FrozenTrial) -> tuple[object, ...]:
    """What must not depend on what befell the search."""
    kept = {key: trial.user_attrs.get(key) for key in ("baseline", "reason", "pruned_at", "spared_at", "reading")}
    # Of a trial that somebody has ended, the time decides how many epochs there are.
    epochs = {} if trial.state == TrialState.FAIL else trial.intermediate_values
    return trial.number, trial.state, trial.params, trial.value, epochs, kept


def test_every_kind_of_fault_came(stormy: tuple[Outcome, Storm, Counter[str]]) -> None:
    _, storm, counts = stormy
    for name, count in counts.items():
        print(f"{name:<32} {count:3d}")
    print(f"{sum(counts.values())} faults with seed {SEED}, {storm.num_starts} starts")
    assert sum(counts.values()) == NUM_FAULTS
    assert len(counts) == min(NUM_FAULTS, len(ALL_FAULTS))


def test_every_trial_is_the_undisturbed_one(stormy: tuple[Outcome, Storm, Counter[str]], undisturbed: Outcome) -> None:
    assert [told(trial) for trial in stormy[0].trials] == [told(trial) for trial in undisturbed.trials]
    for trials in (stormy[0].trials, undisturbed.trials):
        ended = [trial for trial in trials if trial.number in stormy[1].ended_outside]
        assert all(len(trial.intermediate_values) < FIRST_COMPARISON for trial in ended), (
            "another trial was compared with it"
        )
    reasons = " ".join(trial.user_attrs.get("reason", "") for trial in undisturbed.trials)
    if NUM_FAULTS >= 100:
        assert "The loss is" in reasons
        assert "out of memory" in reasons


def test_the_best_is_the_undisturbed_one(stormy: tuple[Outcome, Storm, Counter[str]], undisturbed: Outcome) -> None:
    ours, theirs = stormy[0].summary["best"], undisturbed.summary["best"]
    assert {key: ours[key] for key in ("trial", "value", "params")} == {
        key: theirs[key] for key in ("trial", "value", "params")
    }


def test_no_finished_epoch_was_lost(stormy: tuple[Outcome, Storm, Counter[str]]) -> None:
    ended, storm, _ = stormy
    assert sum(map(len, storm.seen.values())) > 0
    for number, values in storm.seen.items():
        assert values.items() <= ended.trials[number].intermediate_values.items()


def test_mlflow_has_every_point_once(stormy: tuple[Outcome, Storm, Counter[str]], undisturbed: Outcome) -> None:
    ended, storm, _ = stormy
    for number, metrics in undisturbed.points.items():
        if number in storm.deleted_runs:
            continue
        ours = ended.points[number]
        for points in ours.values():
            assert len({step for step, _ in points}) == len(points)
        if number in storm.ended_outside:
            continue
        assert ours.keys() == metrics.keys()
        for key, points in metrics.items():
            assert [step for step, _ in ours[key]] == [step for step, _ in points]
            if key not in MEASURED:
                assert ours[key] == points


def test_complete_and_failed_trials_keep_their_last_checkpoints_and_others_none(
    stormy: tuple[Outcome, Storm, Counter[str]],
) -> None:
    trials = [TrialRecord(trial) for trial in stormy[0].trials if trial.state != TrialState.PRUNED]
    assert sorted(stormy[0].checkpoints) == sorted(trial.checkpoint for trial in trials if trial.checkpoint)


def test_no_checkpoint_is_left_on_its_way(stormy: tuple[Outcome, Storm, Counter[str]], folder: Path) -> None:
    places = {path.relative_to(folder).parts[0] for path in folder.rglob("checkpoint.json")}
    assert places <= {"disk", "artifacts", "undisturbed"}
