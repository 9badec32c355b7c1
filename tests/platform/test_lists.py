"""Every list is data on standard output, for pipes; notes are on standard error."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from platform.spaces.registry import space_names
from tests.platform.stored_by_hand import database, study_by_hand
from trainables.recipes import RECIPES

COMMANDS = {
    "search_spaces --list": space_names()[0],
    "search_spaces --show agw": "agw:",
    "trainables.train --list": next(iter(RECIPES)),
    "platform.reproduce --list": "lsasrd-4",
    "platform.report --list --runs RUNS": "one",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with one study."""
    folder = tmp_path_factory.mktemp("runs")
    study_by_hand("one", database(folder))
    return folder


def piped(command: str, reader: str, runs: Path) -> tuple[int, str, str]:
    """Run a command with its standard output in a pipe; return its exit code, what the reader prints, and its notes."""
    words = [sys.executable, "-m", *command.replace("RUNS", str(runs)).split()]
    script = f'"$@" | {reader}; exit "${{PIPESTATUS[0]}}"'
    done = subprocess.run(["bash", "-c", script, "bash", *words], capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_the_first_line_of_a_list_is_data_and_its_reader_may_end_early(command: str, runs: Path) -> None:
    code, line, notes = piped(command, "head -n 1", runs)
    assert (code, line.split()[0]) == (0, COMMANDS[command])
    assert "Traceback" not in notes
    assert "BrokenPipe" not in notes


@pytest.mark.parametrize("command", COMMANDS)
def test_with_json_standard_output_has_one_object_alone(command: str, runs: Path) -> None:
    code, text, _ = piped(f"{command} --json", "cat", runs)
    (line,) = text.splitlines()
    assert code == 0
    assert isinstance(json.loads(line), dict)


def test_a_list_longer_than_a_pipe_ends_with_its_reader() -> None:
    program = (
        "from shards_tools.command import print_data, run; run(lambda _: [print_data('x' * 99) for _ in range(9999)])"
    )
    script = '"$@" | head -n 1; exit "${PIPESTATUS[0]}"'
    command = ["bash", "-c", script, "bash", sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "x" * 99 + "\n", "")
