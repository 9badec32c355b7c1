"""A small drawn data set, and recipes small enough to train in a moment."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shards_tools import plugins
from shards_tools.build import build
from shards_tools.manifest import Manifest
from shards_tools.sources import lsasrd
from trainables.recipes import get_recipe
from trainables.recipes.settings import override
from trainables.recipes.transreid import TransReIDRecipe

SMALL = {
    "backbone": "vit_64x3",
    "image_size": 24,
    "stride_px": 8,
    "pad_px": 1,
    "works_per_batch": 4,
    "images_per_work": 4,
    "images_per_epoch": None,
    "epochs": 3,
    "warmup_epochs": 2,
}


@pytest.fixture(autouse=True)
def _one_thread(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread, as a trial has, and a cache that the tests own."""
    torch.set_num_threads(1)
    monkeypatch.setenv("SAKUGA_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def small_recipe() -> Callable[..., TransReIDRecipe]:
    """A recipe of the tiny scale made smaller still, with these fields set."""

    def make(**values: object) -> TransReIDRecipe:
        recipe = override(get_recipe("transreid-tiny"), {**SMALL, **values})
        assert isinstance(recipe, TransReIDRecipe)
        return recipe

    return make


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Shards of a drawn five-fold tree: 10 works, each a color and a direction of stripes, 5 roles, 4 images."""
    source = tmp_path_factory.mktemp("source")
    for work in range(10):
        for role in range(1, 6):
            place = source / "ASRDf" / str(work % 5) / f"JP{work:04d}" / f"{role:04d}"
            place.mkdir(parents=True)
            for image in range(4):
                draw_stripes(work, role, image).save(place / f"JP{work:04d}_{role:04d}_{image}.png")
    return build(lsasrd.scan(source), tmp_path_factory.mktemp("shards") / "drawn")


@pytest.fixture(scope="session")
def mixed_sizes(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Shards of a drawn five-fold tree in which no two images of a role have one size: 10 works, 2 roles, 2 images."""
    source = tmp_path_factory.mktemp("source")
    for work in range(10):
        for role in (1, 2):
            place = source / "ASRDf" / str(work % 5) / f"JP{work:04d}" / f"{role:04d}"
            place.mkdir(parents=True)
            for image in range(2):
                drawn = draw_stripes(work, role, image).resize((30 + 5 * work, 40 - 4 * image - role))
                drawn.save(place / f"JP{work:04d}_{role:04d}_{image}.png")
    return build(lsasrd.scan(source), tmp_path_factory.mktemp("shards") / "mixed")


def draw_stripes(work: int, role: int, image: int) -> Image.Image:
    """Stripes of the work's color and direction, as far apart as the role says, moved and noisy as the image says."""
    rows, columns = np.mgrid[:24, :24]
    angle = work * np.pi / 10
    wave = np.sin((rows * np.cos(angle) + columns * np.sin(angle)) / (1 + role / 3) + image)
    color = np.array([(work * 83) % 200, (work * 47) % 200, (work * 151) % 200])
    noise = np.random.default_rng((work, role, image)).normal(0, 8, (24, 24, 3))
    pixels = color + 40 * wave[..., None] + noise + 30
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture
def own_code(own_registrations: None) -> Path:
    """The user's file of these tests, imported."""
    file = Path(__file__).parent / "own_code.py"
    plugins.load_plugins([str(file)])
    return file
