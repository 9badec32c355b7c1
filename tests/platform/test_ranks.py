"""Trials of two ranks: they find what one process finds, go on when one of them dies, and leave nothing behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from optuna.trial import FrozenTrial

from tests.platform.conftest import RANKS_SPACE, RANKS_SPACE_WITH_SGD
from tests.platform.driver import (
    ROOT,
    assert_whole,
    family_of,
    run_search,
    started_search,
    stored_trials,
    trainings_of,
    wait_until,
)

pytestmark = pytest.mark.slow

ROUNDING = 1e-3  # of mAP, after three epochs
LOSS_ROUNDING = 1e-4  # 2.3e-5 on an Intel Xeon


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "space.py"
    path.write_text(RANKS_SPACE % 256)
    return path


def words(space: Path, shards: Path, runs: Path, *more: object) -> list[object]:
    return ["--space", space, "--data", shards, "--runs", runs, "--scale", "tiny", "--concurrency", 1, *more]


def curves(trials: list[FrozenTrial]) -> list[dict[int, float]]:
    return [trial.intermediate_values for trial in trials]


def test_trials_of_two_ranks_find_what_those_of_one_find(space: Path, shards: Path, tmp_path: Path) -> None:
    space.write_text(RANKS_SPACE_WITH_SGD % 256)
    found = {}
    for num_ranks in (1, 2):
        runs = tmp_path / str(num_ranks)
        options = ["--trials", 2, "--pruner", "none", "--ranks-per-trial", num_ranks]
        summary, _ = run_search(*words(space, shards, runs, *options))
        assert_whole(runs / "optuna.db", runs / "mlflow.db", summary, 2)
        found[num_ranks] = stored_trials(runs / "optuna.db")
    for one, two in zip(found[1], found[2], strict=True):
        assert one.params == two.params
        assert two.intermediate_values == pytest.approx(one.intermediate_values, abs=ROUNDING)
        for name in ("mAP", "mINP", "cmc_1"):
            assert two.user_attrs["metrics"][name] == pytest.approx(one.user_attrs["metrics"][name], rel=ROUNDING)
        assert two.user_attrs["metrics"]["loss"] == pytest.approx(one.user_attrs["metrics"]["loss"], rel=LOSS_ROUNDING)


def other_ranks(search: "subprocess.Popen[str]") -> list[psutil.Process]:
    return [member for member in family_of(search) if member.is_running() and "run_rank" in member.name()]


@pytest.mark.parametrize("first", [True, False], ids=["first", "other"])
def test_a_rank_that_dies_costs_an_attempt_and_no_epoch(shards: Path, tmp_path: Path, space: Path, first: bool) -> None:
    """The trial goes on from its checkpoint, and ends as one that nobody disturbed does, to the bit."""
    space.write_text(RANKS_SPACE % 1024)
    options = ["--trials", 1, "--pruner", "none", "--ranks-per-trial", 2]
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    run_search(*words(space, shards, undisturbed, *options))
    with started_search(*words(space, shards, disturbed, *options)) as search:
        wait_until(lambda: any(disturbed.glob("*/start-001/*/checkpoint_000000")), 240, "a checkpoint")
        wait_until(lambda: bool(trainings_of(search) and other_ranks(search)), 60, "two ranks")
        (killed,) = [trainings_of(search)[-1]] if first else other_ranks(search)
        killed.kill()
        out, screen = search.communicate(timeout=300)
        assert search.returncode == 0, screen
    assert "died" in screen
    database = disturbed / "optuna.db"
    assert_whole(database, disturbed / "mlflow.db", json.loads(out.splitlines()[-1]), 1)
    assert stored_trials(database)[0].user_attrs["attempts"] == 2
    assert curves(stored_trials(database)) == curves(stored_trials(undisturbed / "optuna.db"))


# A search within a script that looks at Ray before and after; the trials' function may break the second rank.
SCRIPT = """
import sys
import time

import ray
from ray.util import placement_group_table

from platform.terminal.lines import Display
from platform.execution import local_cluster, run_trials
from platform.tracking.journal import Journal
from platform.resolve import resolve_search
from platform.search import parse
from platform.study import open_storage, open_study
from platform.trials import Trials
from trainables import ray_trial

def broken(config, rank, host, port):
    def fail(*arguments, **settings):
        raise ZeroDivisionError("of the second rank")
    ray_trial.train = fail
    return whole(config, rank, host, port)

def with_a_broken_rank(config):
    ray_trial.run_rank = broken
    ray_trial.run_trial(config)

whole = ray_trial.run_rank
trainable = with_a_broken_rank if sys.argv[1] == "broken" else ray_trial.run_trial
search = resolve_search(parse(sys.argv[2:])[0])
study = open_study(search, open_storage(search.stores.storage))
with Journal(search.stores.folder / "journal.jsonl") as journal, local_cluster(search.resources.num_cpus):
    before = ray.available_resources()["CPU"]
    run_trials(Trials(study, search, journal, Display(study, search.goal)), 1, search.budget.hours, trainable)
    for _ in range(100):
        if ray.available_resources().get("CPU") == before:
            break
        time.sleep(0.1)
    print("CPUs", before, ray.available_resources().get("CPU"))
    print("groups", *(group["state"] for group in placement_group_table().values()))
"""


def run_script(mode: str, tmp_path: Path, *options: object) -> str:
    script = tmp_path / "trials.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, script, mode, *map(str, options)], env=environment, capture_output=True, text=True, timeout=900
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_pruned_trials_of_two_ranks_leave_nothing(shards: Path, tmp_path: Path, space: Path) -> None:
    """Settings are drawn at random: those that a sampler proposes soon become too good to be pruned."""
    space.write_text(RANKS_SPACE % 64)
    options = words(space, shards, tmp_path / "runs", "--trials", 20, "--ranks-per-trial", 2, "--concurrency", 2)
    options += ["--sampler", "random"]
    said = run_script("whole", tmp_path, *options)
    states = [trial.state.name for trial in stored_trials(tmp_path / "runs" / "optuna.db")]
    assert len(states) == 20
    assert states.count("PRUNED") >= 10
    free, groups = (line.split()[1:] for line in said.splitlines()[-2:])
    assert free == ["4.0", "4.0"]
    assert len(groups) >= 20
    assert set(groups) == {"REMOVED"}


def test_the_first_failure_of_a_rank_is_what_is_told(shards: Path, tmp_path: Path, space: Path) -> None:
    """And not the broken connection that the others then see."""
    options = words(space, shards, tmp_path / "runs", "--trials", 1, "--ranks-per-trial", 2)
    run_script("broken", tmp_path, *options)
    reasons = {trial.user_attrs["reason"] for trial in stored_trials(tmp_path / "runs" / "optuna.db")}
    assert reasons == {"ZeroDivisionError: of the second rank"}
