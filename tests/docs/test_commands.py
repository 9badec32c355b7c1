"""Every command of README and docs runs as it stands, on a small set; what needs more than this machine is known."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from shards_tools.build import build
from shards_tools.sources.folds import cut_into_folds
from shards_tools.sources.lsasrd import scan
from tests.conftest import draw_tree
from tests.docs.commands import PAGES, ROOT, all_commands
from tests.platform.driver import wait_until
from trainables.recipes import get_recipe

# What a command has in it that needs a cluster, a bucket or Ray's own programs; `make` is run by whoever clones.
ELSEWHERE = ("--address", "ray ", "s3://", "platform.submit", "make ")
HERE = [words for _, words in all_commands() if not any(mark in " ".join(words) for mark in ELSEWHERE)]
# A search of a page is cut short; all else of it is as people type it.
SHORT = ("--trials", "2", "--epochs", "1", "--scale", "tiny")
UI_PORT = 5397


@dataclass
class Desk:
    """A folder that has what the pages speak of: images, shards, a space of one's own, a study `first`."""

    folder: Path
    checkpoint: str  # the best of the study

    def command(self, words: list[str]) -> list[str]:
        """The command with real names in the place of those in capitals, and short."""
        real = {"KIND": "lsasrd", "SOURCE": "DIR", "CHECKPOINT": self.checkpoint, "STUDY": "first", "SHARDS": "out/new"}
        words = [sys.executable, *(real.get(word, word) for word in words[1:])]
        if "--out" in words:  # every command has the place to itself
            words[words.index("--out") + 1] = f"out/{abs(hash(tuple(words)))}"
        if "platform.search" in words:
            words += SHORT
            if "--folds" in words:
                words[words.index("--data") + 1] = "shards/five-fold"
        if "--recipe" in words:
            place = words.index("--recipe") + 1
            get_recipe(words[place])
            words[place] = "transreid-tiny"  # a CPU trains it within seconds
            words = [word for word in words if not word.startswith("epochs=")] + ["--epochs", "1"]
        return words

    def run(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        """Run it there, to its end."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(words, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """The desk, with a study that has two trials of an epoch."""
    folder = tmp_path_factory.mktemp("desk")
    tree = draw_tree(folder / "DIR")
    for name in ("lsasrd", "mine"):
        build(scan(tree), folder / "shards" / name)
    build(cut_into_folds(scan(tree), 0), folder / "shards" / "five-fold")
    pages = "".join(page.read_text() for page in PAGES)
    (own_space,) = re.findall(r"```python\n# mine\.py\n(.*?)```", pages, re.S)
    (folder / "mine.py").write_text(own_space)
    desk = Desk(folder, "")
    search = "python -m platform.search --space transreid --data shards/lsasrd --study first --json"
    done = desk.run(desk.command(search.split()))
    assert done.returncode == 0, done.stderr
    desk.checkpoint = json.loads(done.stdout.splitlines()[-1])["best"]["checkpoint"]
    return desk


def test_the_pages_have_commands_that_run_here_and_others_that_cannot() -> None:
    assert len(HERE) > 15
    assert {words[2] for words in HERE if words[:2] == ["python", "-m"]} >= {"platform.search", "shards_tools"}
    assert [words for words in HERE if words[0] != "python"] == []


@pytest.mark.slow
@pytest.mark.parametrize("words", [words for words in HERE if "platform.ui" not in words], ids=" ".join)
def test_a_command_of_the_pages_runs(desk: Desk, words: list[str]) -> None:
    done = desk.run(desk.command(words))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_ui_of_the_readme_answers(desk: Desk) -> None:
    words = [sys.executable, "-m", "platform.ui", "--port", str(UI_PORT)]
    server = subprocess.Popen(words, cwd=desk.folder, env={**os.environ, "PYTHONPATH": str(ROOT)})

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{UI_PORT}/health", timeout=2) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    try:
        wait_until(answers, 120, "the server")
    finally:
        server.terminate()
        server.wait(60)
