"""Draws of every space train: all choices of each parameter, for a few batches of drawn pictures at tiny scale."""

from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from PIL import Image

from platform.spaces.loading import load_space
from platform.spaces.registry import space_names
from shards_tools.build import build
from shards_tools.manifest import Manifest
from shards_tools.sources import dafull, lsasrd
from tests.conftest import draw_tree
from tests.search_spaces.draws import covering_draws
from tests.trainables.reports import Reports
from trainables.recipes.settings import override
from trainables.training.loop import train

pytestmark = pytest.mark.slow

NUM_BATCHES = 2
NUM_MORE_DRAWS = 8  # beside those in which every choice stands: other combinations of them


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def drawn_works(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """As many works and images as the largest batches take."""
    tree = draw_tree(tmp_path_factory.mktemp("works"), num_train=16, num_roles=5, num_images=4)
    return build(lsasrd.scan(tree), tmp_path_factory.mktemp("shards") / "works")


@pytest.fixture(scope="module")
def drawn_classes(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Six classes of noisy colors, each image with the tag of its class and one of its own brightness."""
    root, draw = tmp_path_factory.mktemp("tagged"), np.random.default_rng(0)
    rows: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for label in range(6):
        color = draw.integers(40, 200, 3)
        for number in range(28):
            place = f"{label:04d}/{label}{number:04d}.jpg"
            (root / "fullMin256" / place).parent.mkdir(parents=True, exist_ok=True)
            pixels = color + draw.normal(0, 20, (40, 40, 3)) + number % 7
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / "fullMin256" / place)
            tags = f"['class {label}', 'brightness {number % 7}']"
            part = "val" if number < 3 else "test" if number < 6 else "train"
            rows[part].append(f'{label}{number:04d},{place},{label},"{tags}","[]","[]"')
    (root / "labels").mkdir()
    header = "id,dir,class_id,tags_cat0,tags_cat3,tags_cat4"
    for name, lines in rows.items():
        (root / "labels" / f"{name}_tags.csv").write_text("\n".join([header, *lines]) + "\n")
    (root / "labels" / "classid_classname.csv").write_text("".join(f"{label},class {label}\n" for label in range(6)))
    return build(dafull.scan(root), tmp_path_factory.mktemp("shards") / "classes")


@pytest.mark.parametrize("name", space_names())
def test_every_choice_of_a_space_trains(
    name: str, drawn_works: Manifest, drawn_classes: Manifest, tmp_path: Path
) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = load_space(name, "tiny")
    data = drawn_classes if name.startswith(("dafre", "moeimouto", "animesion")) else drawn_works
    for number, draw in enumerate([*covering_draws(space), *space.draws[:NUM_MORE_DRAWS]]):
        recipe = space.recipe(optuna.trial.FixedTrial(draw), epochs=1)
        recipe = override(recipe, {"images_per_epoch": NUM_BATCHES * recipe.batch_size})
        reports = Reports(tmp_path / str(number))
        train(recipe, data, report=reports, device="cpu")
        (report,) = reports.metrics
        assert np.isfinite(report["loss"])
        assert 0 <= report["top1" if data is drawn_classes else "mAP"] <= 1
