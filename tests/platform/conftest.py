"""A small real data set and plans of small searches on it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from platform.plan import Plan, make_plan
from platform.search import parser
from shards_tools.build import build
from shards_tools.sources.lsasrd import scan

ROOT = Path(__file__).resolve().parents[2]

# Eight parameters are too many to wait for: one learning rate, one switch, and two rows by hand.
SMALL_SPACE = """
def suggest(trial):
    return {
        "recipe": "transreid-tiny",
        "backbone": "vit_64x3",
        "image_size": 32,
        "images_per_epoch": 512,
        "works_per_batch": 4,
        "images_per_work": 4,
        "epochs": 4,
        "erase_probability": trial.suggest_categorical("erase_probability", (0.0, 0.5)),
        "lr": trial.suggest_float("lr", 1e-4, 1e-2, log=True),
    }


BASELINES = {"paper row": {"erase_probability": 0.5, "lr": 1e-4}, "hand-set": {"erase_probability": 0.0, "lr": 1e-3}}
"""


def draw_tree(folder: Path, *, num_train: int = 6, num_test: int = 2, num_roles: int = 5, num_images: int = 4) -> Path:
    """A plain LSASRD tree: a work is a stripe pattern, a role a colour, an image a shade of it."""
    draw = np.random.default_rng(0)
    for work in range(num_train + num_test):
        stripes = (np.indices((40, 40)) * draw.normal(size=(2, 1, 1))).sum(0) % 8 < 4
        for role in range(num_roles):
            colour = draw.integers(0, 256, 3)
            split = "train" if work < num_train else "query" if role < 2 else "test"
            place = folder / "ASRD" / split / f"JP{work:04d}" / f"{role:04d}"
            place.mkdir(parents=True)
            for image in range(num_images):
                pixels = np.where(stripes[..., None], colour, 255 - colour) * draw.uniform(0.6, 1)
                Image.fromarray(pixels.astype(np.uint8)).save(place / f"JP{work:04d}_{role:04d}_{image}.jpg")
    return folder


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of a drawn tree of eight works."""
    tree = draw_tree(tmp_path_factory.mktemp("tree"))
    out = tmp_path_factory.mktemp("shards") / "shards"
    build(scan(tree), out)
    return out


@pytest.fixture(scope="session")
def small_space_text() -> str:
    """The source of the small space."""
    return SMALL_SPACE


@pytest.fixture
def small_space(tmp_path: Path) -> Path:
    """A space file with two parameters and two baselines."""
    path = tmp_path / "small.py"
    path.write_text(SMALL_SPACE)
    return path


@pytest.fixture
def plan_of(shards: Path, small_space: Path, tmp_path: Path) -> Callable[..., Plan]:
    """Makes the plan of a search of the small space, its stores under `tmp_path`, with these options added."""

    def make(*options: object) -> Plan:
        words = ("--space", small_space, "--data", shards, "--runs", tmp_path / "runs", *options)
        return make_plan(parser().parse_args([str(word) for word in words]))

    return make


@pytest.fixture
def plan(plan_of: Callable[..., Plan]) -> Plan:
    """The plan of a search of six trials."""
    return plan_of("--trials", 6)
