"""Every command of README and docs runs as it stands, on a small set; what needs more than this machine is known."""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from shards_tools.build import build
from shards_tools.sources.lsasrd import cut_into_folds, scan
from tests.conftest import draw_tree
from tests.docs.commands import PAGES, ROOT, all_commands
from tests.platform.driver import wait_until
from trainables.recipes import get_recipe

# Marks of commands that need a cluster, a bucket or Ray's own programs. `make` is how the tests themselves are run, and
# tests/benchmarks runs the GPU window.
ELSEWHERE = ("--address", "ray ", "s3://", "platform.submit", "make ", "gpu_window.py")
HERE = [words for _, words in all_commands() if not any(mark in " ".join(words) for mark in ELSEWHERE)]
# A search of a page is cut short; all else of it is as people type it.
SHORT = ("--trials", "2", "--epochs", "1", "--scale", "tiny")
UI_PORT = 5397


@dataclass
class Desk:
    """A folder that has what the pages speak of: images, shards, a space of one's own, a study `first`."""

    folder: Path
    checkpoint: str = ""  # the best of the study
    classifier: str = ""  # a checkpoint that names classes

    def command(self, words: list[str]) -> list[str]:
        """The command with real names in the place of those in capitals, and short."""
        checkpoint = self.classifier if "face.png" in words else self.checkpoint
        real = {"KIND": "lsasrd", "SOURCE": "DIR", "CHECKPOINT": checkpoint, "STUDY": "first", "SHARDS": "shards/new"}
        short = [sys.executable, *(real.get(word, word) for word in words[1:])]
        if "--out" in words:  # every command has the place to itself
            place = short.index("--out") + 1
            short[place] = f"out/{HERE.index(words)}{Path(short[place]).suffix}"  # a suffix chooses a format
        if "platform.search" in words:
            short += SHORT
            if "--folds" in words:
                short[short.index("--data") + 1] = "shards/five-fold"
        if "platform.reproduce" in words and "--list" not in words:
            short += ["--rows", "ViT-Base", "--epochs", "1", "--scale", "tiny"]
            if "--folds" in words:
                short[short.index("--data") + 1] = "shards/five-fold"
                short[short.index("--folds") + 1] = "2"
            if "--seeds" in words:
                short[short.index("--seeds") + 1] = "1"
        if "--recipe" in words:
            place = short.index("--recipe") + 1
            if "--import" not in words and not any("timm/" in word for word in words):
                get_recipe(short[place])
                short[place] = "transreid-tiny"  # a CPU trains it within seconds
            short = [word for word in short if not word.startswith("epochs=")] + ["--epochs", "1"]
        return short

    def run(self, words: list[str]) -> str:
        """Run it there, to its end; what it printed."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(words, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """The desk, with a study that has three rows set by hand and two drawn trials, of an epoch each."""
    desk = Desk(tmp_path_factory.mktemp("desk"))
    tree = draw_tree(desk.folder / "DIR")
    for name in ("lsasrd", "mine"):
        build(scan(tree), desk.folder / "shards" / name)
    many = draw_tree(desk.folder / "many", num_train=15, num_test=0, num_roles=4)
    build(cut_into_folds(scan(many), 0), desk.folder / "shards" / "five-fold")
    _lay_out_pictures(desk.folder)
    pages = "".join(page.read_text() for page in PAGES)
    (own_space,) = re.findall(r"```python\n# mine\.py\n(.*?)```", pages, re.S)
    (desk.folder / "mine.py").write_text(own_space)
    (desk.folder / "own.py").write_text(own_code())
    python = [sys.executable, "-m"]
    search = "platform.search --space transreid --data shards/lsasrd --study first --scale tiny --epochs 1 --trials 5"
    found = desk.run([*python, *search.split(), "--json"])
    desk.checkpoint = json.loads(found.splitlines()[-1])["best"]["checkpoint"]
    desk.run([*python, "platform.predict", desk.checkpoint, "--calibrate", "shards/lsasrd"])
    desk.run([*python, "shards_tools", "build", "folder", "classes", "--out", "shards/classes"])
    train = "trainables.train --recipe dafre-tiny --data shards/classes --out out/classes --epochs 1"
    desk.run([*python, *train.split()])
    (information,) = (desk.folder / "out" / "classes").rglob("checkpoint.json")
    desk.classifier = str(information.parent)
    return desk


def _lay_out_pictures(folder: Path) -> None:
    """Pictures by the names that the pages have, and a folder for each class."""
    (folder / "pictures").mkdir()
    for image in sorted((folder / "DIR" / "ASRD" / "train").rglob("*.jpg")):
        place = folder / "classes" / image.parents[1].name / image.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, place)
        split = ("train", "train", "val", "test")[int(image.stem[-1])]
        drawing = folder / "drawings" / split / f"{image.stem}.png"
        drawing.parent.mkdir(parents=True, exist_ok=True)
        Image.open(image).save(drawing)
        if image.name.endswith("_0.jpg"):
            shutil.copy(image, folder / "pictures")
    some = sorted((folder / "pictures").iterdir())
    for name, image in zip(("one.jpg", "other.jpg"), some, strict=False):
        shutil.copy(image, folder / name)
    Image.open(some[0]).save(folder / "face.png")


def own_code() -> str:
    """The user's file of the page on extensions: all of its examples."""
    page = (ROOT / "docs" / "guide" / "extensions.md").read_text()
    return "\n".join(re.findall(r"```python\n(.*?)```", page, re.S))


def test_the_examples_of_the_page_on_extensions_register_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(own_code())
    program = (
        "from shards_tools.plugins import load_plugins; load_plugins(['own.py'])\n"
        "from trainables.recipes import get_recipe; print(get_recipe('mine-tiny').backbone)\n"
        "from trainables.losses.registry import METRIC_LOSSES; print(*METRIC_LOSSES.added)\n"
        "from shards_tools.sources import SOURCES; print(*SOURCES.added)\n"
    )
    printed = Desk(tmp_path).run([sys.executable, "-c", program]).split()
    assert sorted(printed) == ["crops", "nt_xent", "proxy_nca", "squeeze"]


def test_the_pages_have_commands_that_run_here_and_others_that_cannot() -> None:
    assert len(HERE) > 15
    assert {words[2] for words in HERE if words[:2] == ["python", "-m"]} >= {"platform.search", "shards_tools"}
    assert [words for words in HERE if words[0] != "python"] == []


@pytest.mark.slow
@pytest.mark.parametrize("words", [words for words in HERE if "platform.ui" not in words], ids=" ".join)
def test_a_command_of_the_pages_runs(desk: Desk, words: list[str]) -> None:
    desk.run(desk.command(words))


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
