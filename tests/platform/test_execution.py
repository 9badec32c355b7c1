"""Ray's start, and what a killed driver leaves."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from platform import execution
from platform.execution import RAY_START_ATTEMPTS, local_cluster
from shards_tools.errors import Error
from tests.platform.driver import ROOT, wait_until

TOO_LATE = "The current node timed out during startup.\nThis could happen because ..."


def busy_for(attempts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Ray give up so often, as on a machine that is too busy; such a one cannot be had at will."""
    left = iter(range(attempts))

    def init(**options: Any) -> None:
        if next(left, None) is not None:
            raise Exception(TOO_LATE)

    monkeypatch.setattr(execution.ray, "init", init)


def test_ray_is_started_again_where_the_machine_was_too_busy_for_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    busy_for(RAY_START_ATTEMPTS - 1, monkeypatch)
    capsys.readouterr()
    with local_cluster(1):
        pass
    said = capsys.readouterr().err.splitlines()
    assert said == ["Ray did not start (The current node timed out during startup). Trying again."] * len(said)
    assert len(said) == RAY_START_ATTEMPTS - 1


def test_a_ray_that_does_not_start_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    busy_for(RAY_START_ATTEMPTS, monkeypatch)
    with (
        pytest.raises(Error, match="Ray did not start on this machine in 3 attempts") as failure,
        local_cluster(1),
    ):
        pass
    assert "\n" not in str(failure.value)


def test_what_trainings_had_not_handed_over_goes_with_a_killed_driver(tmp_path: Path) -> None:
    passing = tmp_path / "passing"
    (passing / "checkpoint").mkdir(parents=True)
    driver = "import sys, time, pathlib; from platform.cluster.reaper import reaped\n"
    driver += "with reaped(pathlib.Path(sys.argv[1])): print('ready', flush=True); time.sleep(600)"
    words = [sys.executable, "-c", driver, str(passing)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert passing.is_dir()
        process.kill()
    wait_until(lambda: not passing.exists(), 60, "the end of the folder")


# Trials that say which process they are in. The third dies in its first attempt, without a word; the fifth ends early.
TRIALS = """
import json, os, signal, sys, tempfile, time
from pathlib import Path

from ray import tune

from platform.terminal.lines import Display
from platform.execution import local_cluster, run_trials
from platform.tracking.journal import Journal
from platform.resolve import resolve_search
from platform.search import parse
from platform.study import open_storage, open_study
from platform.trials import Trials
from trainables.ray_trial import ProcessSpent
from trainables.training.trial_report import EarlyEnd, EndReason, TrialReport

pids = Path(sys.argv[1])


def train(config):
    with pids.open("a") as file:
        file.write(f"{config['trial']} {os.getpid()}\\n")
    if config["trial"] == 2 and config["attempt"] == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if config["trial"] == 4:
        tune.report(EarlyEnd(EndReason.INFEASIBLE, "out of memory").to_result())
        raise ProcessSpent
    for epoch in range(1, 5):
        numbers = {"epoch": epoch, "mAP": 0.9 / (1 + config["trial"]), "loss": 1.0, "images_per_second": 9.0}
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "numbers.json").write_text(json.dumps(numbers))
            checkpoint = tune.Checkpoint.from_directory(folder)
            report = TrialReport(metrics={**numbers, "time": time.time()})
            tune.report(report.to_result(), checkpoint=checkpoint)


search = resolve_search(parse(sys.argv[2:])[0])
study = open_study(search, open_storage(search.stores.storage))
with Journal(search.stores.folder / "journal.jsonl") as journal, local_cluster(search.resources.num_cpus):
    run_trials(Trials(study, search, journal, Display(study, search.goal)), 1, search.budget.hours, train)
print([trial.state.name for trial in study.trials])
"""


@pytest.mark.slow
def test_a_trial_takes_over_the_process_of_the_one_before(small_space: Path, shards: Path, tmp_path: Path) -> None:
    """Also of one that was pruned in its middle; after a death or an early end there is a fresh one."""
    script, pids = tmp_path / "trials.py", tmp_path / "pids"
    script.write_text(TRIALS)
    options = ["--space", small_space, "--data", shards, "--runs", tmp_path / "runs", "--trials", 6]
    words = [sys.executable, script, pids, *options, "--concurrency", 1, "--scale", "tiny", "--pruner", "halving"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(list(map(str, words)), env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("PRUNED") >= 2, result.stdout
    told = [line.split() for line in pids.read_text().splitlines()]
    assert [int(trial) for trial, _ in told] == [0, 1, 2, 2, 3, 4, 5]
    processes = [pid for _, pid in told]
    assert len(set(processes[:3])) == 1
    assert len(set(processes[3:6])) == 1
    assert len({processes[2], processes[3], processes[6]}) == 3
    assert "Traceback" not in result.stderr


def test_the_driver_of_a_search_needs_no_torch() -> None:
    """A machine without a GPU: torch then only says that there is none."""
    program = (
        "import sys\n"
        "import platform.runner\n"
        "from platform.environment import environment\n"
        "gpus = environment()['GPU']\n"
        "assert gpus != 'none' or not {'torch', 'timm', 'mlflow', 'matplotlib'} & sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
