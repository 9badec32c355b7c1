"""Ray's start, and what a killed driver leaves."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from platform import execution
from platform.execution import RAY_START_ATTEMPTS, local_cluster
from platform.plan import Plan
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
    plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    busy_for(RAY_START_ATTEMPTS - 1, monkeypatch)
    capsys.readouterr()
    with local_cluster(plan):
        pass
    said = capsys.readouterr().err.splitlines()
    assert said == ["Ray did not start (The current node timed out during startup); it is started again."] * len(said)
    assert len(said) == RAY_START_ATTEMPTS - 1


def test_a_ray_that_does_not_start_is_one_line(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    busy_for(RAY_START_ATTEMPTS, monkeypatch)
    with pytest.raises(Error, match="Ray did not start on this machine in 3 attempts") as failure, local_cluster(plan):
        pass
    assert "\n" not in str(failure.value)


def test_what_trainings_had_not_handed_over_goes_with_a_killed_driver(tmp_path: Path) -> None:
    passing = tmp_path / "passing"
    (passing / "checkpoint").mkdir(parents=True)
    driver = "import sys, time, pathlib; from platform.reaper import reaped\n"
    driver += "with reaped(pathlib.Path(sys.argv[1])): print('ready', flush=True); time.sleep(600)"
    words = [sys.executable, "-c", driver, str(passing)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert passing.is_dir()
        process.kill()
    wait_until(lambda: not passing.exists(), 60, "the end of the folder")
