"""A small drawn data set for the tests that train, and a cache that belongs to the tests."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shards_tools import plugins
from shards_tools.build import build
from shards_tools.errors import Error
from shards_tools.sources.lsasrd import scan

LONGEST_ERROR = 400  # characters

# A shell's background job ignores Ctrl-C, and hands that down to the commands that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Hide the machine's GPUs from all lanes but `gpu`: on a GPU, a search without --scale has paper scale."""
    if config.getoption("markexpr") != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Decoded pixels go to a folder of the tests, also those of the commands that they start."""
    before = os.environ.get("SAKUGA_CACHE")
    os.environ["SAKUGA_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["SAKUGA_CACHE"]
    else:
        os.environ["SAKUGA_CACHE"] = before


@pytest.fixture
def own_registrations() -> Iterator[None]:
    """Forget what a test registers and which files it imports."""
    from trainables.losses.registry import ID_LOSSES, METRIC_LOSSES
    from trainables.recipes import RECIPES
    from trainables.recipes.backbones import BACKBONES

    registries = (BACKBONES, METRIC_LOSSES, ID_LOSSES, RECIPES)
    before = [(dict(registry), set(registry.added)) for registry in registries]
    hashes = dict(plugins._hashes)
    yield
    for registry, (entries, added) in zip(registries, before, strict=True):
        registry.clear()
        registry.update(entries)
        registry.added = added
    plugins._hashes.clear()
    plugins._hashes.update(hashes)


@pytest.fixture(autouse=True)
def _short_errors(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every error that a test meets in its own process is short enough to read; folders of files do not count."""
    plain = Error.__init__

    def init(self: Error, *arguments: object) -> None:
        plain(self, *arguments)
        text = re.sub(rf"{re.escape(str(tmp_path_factory.getbasetemp()))}[^\s:]*/", "", str(self))
        assert len(text) <= LONGEST_ERROR, text

    monkeypatch.setattr(Error, "__init__", init)


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of a plain tree of eight works; val is cut by role from the six that train."""
    out = tmp_path_factory.mktemp("shards") / "shards"
    build(scan(draw_tree(tmp_path_factory.mktemp("tree"))), out)
    return out


def draw_tree(folder: Path, *, num_train: int = 6, num_test: int = 2, num_roles: int = 5, num_images: int = 4) -> Path:
    """A plain LSASRD tree: a work is a stripe pattern, a role a color, an image a shade of it."""
    draw = np.random.default_rng(0)
    for work in range(num_train + num_test):
        stripes = (np.indices((40, 40)) * draw.normal(size=(2, 1, 1))).sum(0) % 8 < 4
        for role in range(num_roles):
            color = draw.integers(0, 256, 3)
            split = "train" if work < num_train else "query" if role < 2 else "test"
            place = folder / "ASRD" / split / f"JP{work:04d}" / f"{role:04d}"
            place.mkdir(parents=True)
            for image in range(num_images):
                pixels = np.where(stripes[..., None], color, 255 - color) * draw.uniform(0.6, 1)
                Image.fromarray(pixels.astype(np.uint8)).save(place / f"JP{work:04d}_{role:04d}_{image}.jpg")
    return folder
