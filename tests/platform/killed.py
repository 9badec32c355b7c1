"""Kills a command at its steps, starts it again, and looks at what it ends with.

A step is a commit to a database, or a call that changes the folder of the case. Imports take longer than most commands,
so one process imports what they need, and forks for each start.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy

from tests.platform.driver import ROOT

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "shutil.copyfile"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass(frozen=True)
class Case:
    """A command and what it works on; all functions get the folder."""

    begin: Callable[[Path], None]  # fills the empty folder
    command: Callable[[Path], None]
    state: Callable[[Path], Any]  # describes the folder, as JSON
    every: int = 1  # the number of calls that change the folder per step; each commit is a step


def ends_of(case: str, folder: Path, most: int) -> list[Any]:
    """Return the state after an undisturbed run, then the states after a kill and a second run, of `most` steps.

    Args:
        case: MODULE:NAME of the case.
        folder: a new folder.
        most: how many of the command's steps are tried, evenly spread; of fewer steps, all.
    """
    module, name = case.split(":")
    words = f"from {module} import {name}; from tests.platform.killed import run; run({name}, {str(folder)!r}, {most})"
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", words], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith(("{", "["))]


def run(case: Case, place: str, most: int) -> None:
    """Print the states, one per line."""
    folder, before, told = Path(place) / "work", Path(place) / "before", Path(place) / "told"
    folder.mkdir(parents=True)
    assert forked(partial(case.begin, folder)) == 0
    folder.rename(before)

    def restore() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(before, folder, symlinks=True)

    def tell_state() -> None:
        assert forked(lambda: told.write_text(json.dumps(case.state(folder)))) == 0
        print(told.read_text(), flush=True)

    restore()
    assert forked(partial(with_steps, case, folder, 0, told)) == 0
    num_steps = int(told.read_text())
    tell_state()
    for step in sorted({1 + round(number * (num_steps - 1) / (most - 1)) for number in range(most)}):
        restore()
        assert forked(partial(with_steps, case, folder, step, told)) == -signal.SIGKILL, f"step {step} of {num_steps}"
        assert forked(partial(case.command, folder)) == 0, f"again after step {step} of {num_steps}"
        tell_state()


def with_steps(case: Case, folder: Path, last: int, told: Path) -> None:
    """Run the command, count its steps, and end before step `last`; 0: at none."""
    num = num_calls = 0

    def step(*_: object) -> None:
        nonlocal num
        num += 1
        if num == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal num_calls
        if (event in CHANGES or (event == "open" and arguments[2] & WRITES)) and isinstance(arguments[0], str | Path):
            place = str(arguments[0])
            if place.startswith(str(folder)) or (event in CHANGES and not place.startswith("/")):
                num_calls += 1
                if num_calls % case.every == 0:
                    step()

    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "commit", step)
    sys.addaudithook(watch)
    case.command(folder)
    counted, last = num, -1
    told.write_text(str(counted))


def forked(call: Callable[[], object]) -> int:
    """Call a function in a process of its own, and return its exit code; minus a signal's number."""
    sys.stdout.flush()
    if not (child := os.fork()):
        code = 1
        try:
            os.dup2(2, 1)
            call()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
