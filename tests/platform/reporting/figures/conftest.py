"""Tiny trained models: a transformer that ranks works, a residual network that names classes, and their answers."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from platform.evaluation import ask
from platform.reporting.figures.answers import Answers, Rankings, compute_answers
from shards_tools.build import build
from shards_tools.manifest_file import read_manifest
from shards_tools.sources import folder
from trainables import train

NUM_CLASSES = 33  # more than a confusion shows
RANKING = ["backbone=vit_64x3", "stride_px=6", "works_per_batch=4", "images_per_epoch=64", "warmup_epochs=0"]
NAMING = ["backbone=resnet18_32", "image_size=32", "batch_size=16", "images_per_epoch=64"]


def trained(recipe: str, shards: Path, out: Path, *settings: str) -> Path:
    """The checkpoint of one epoch."""
    train.main(["--recipe", recipe, "--data", str(shards), "--out", str(out), "--epochs", "1", "--set", *settings])
    return out / "last"


@pytest.fixture(scope="session")
def ranking_checkpoint(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TransReID with patches that overlap."""
    return trained("transreid-tiny", shards, tmp_path_factory.mktemp("ranking") / "out", *RANKING)


@pytest.fixture(scope="session")
def rankings(ranking_checkpoint: Path, shards: Path) -> Rankings:
    """What it answers on val."""
    answers = compute_answers(ask(ranking_checkpoint, read_manifest(shards), split="val", fold=None))
    assert isinstance(answers, Rankings)
    return answers


@pytest.fixture(scope="session")
def class_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of 33 classes with 2 to 34 training images: each a color, with noise."""
    root, draw = tmp_path_factory.mktemp("classes"), np.random.default_rng(0)
    for name in range(NUM_CLASSES):
        color = draw.integers(40, 216, 3)
        for part, number in (("train", 2 + name), ("val", 3), ("test", 1)):
            place = root / "source" / part / f"c{name:02d}"
            place.mkdir(parents=True)
            for image in range(number):
                pixels = (color + draw.integers(-40, 40, (12, 12, 3))).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{part}{image}.png")
    build(folder.scan(root / "source"), root / "shards")
    return root / "shards"


@pytest.fixture(scope="session")
def naming_checkpoint(class_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A residual network."""
    return trained("dafre-tiny", class_shards, tmp_path_factory.mktemp("naming") / "out", *NAMING)


@pytest.fixture(scope="session")
def names(naming_checkpoint: Path, class_shards: Path) -> Answers:
    """What it answers on val."""
    return compute_answers(ask(naming_checkpoint, read_manifest(class_shards), split="val", fold=None))
