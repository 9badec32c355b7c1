"""Every recipe trains: at tiny scale on real drawings for two epochs, and a step of each family at full size."""

import dataclasses
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from shards_tools.build import BuildOptions, build
from shards_tools.manifest import Manifest
from shards_tools.manifest_file import read_manifest
from shards_tools.sources import dafull, lsasrd
from tests.trainables.reports import Reports
from trainables.data.batches import Batch
from trainables.losses.criterion import Criterion
from trainables.models import build_model
from trainables.recipes import RECIPES, get_recipe
from trainables.recipes.recipe import Recipe
from trainables.recipes.settings import settings_of
from trainables.training.loop import train
from trainables.training.optimizer import build_optimizer
from trainables.training.step import Step

pytestmark = pytest.mark.slow

REAL_DATA = os.environ.get("SAKUGA_REAL_DATA")
needs_avatars = pytest.mark.skipif(REAL_DATA is None, reason="SAKUGA_REAL_DATA names no folder of real images")
IMAGES_PER_EPOCH = 1024


def different(recipes: Iterator[Recipe]) -> list[Recipe]:
    """One of all recipes that set the same: many rows shrink to one tiny form."""
    return list({(type(recipe), str(settings_of(recipe))): recipe for recipe in recipes}.values())


TINY = different(recipe for recipe in RECIPES.values() if recipe.scale == "tiny")


@pytest.fixture(scope="module")
def avatars(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Shards of the avatars: 8 styles to train on, 40 characters each."""
    place = tmp_path_factory.mktemp("avatars") / "shards"
    build(lsasrd.scan(Path(str(REAL_DATA)) / "avatars"), place)
    return read_manifest(place)


@pytest.fixture(scope="module")
def tagged_avatars(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The same images as DAFull has them: styles are classes, and expression and character are tags."""
    root = tmp_path_factory.mktemp("tagged")
    styles = sorted((Path(str(REAL_DATA)) / "avatars" / "ASRD" / "train").iterdir())
    rows: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for label, style in enumerate(styles):
        for number, file in enumerate(sorted(style.rglob("*.jpg"))):
            place = f"{number % 1000:04d}/{label}{number:04d}.jpg"
            (root / "fullMin256" / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, root / "fullMin256" / place)
            _, role, expression = file.stem.rsplit("_", 2)
            part = ("train", "train", "train", "train", "train", "train", "val", "test")[number % 8]
            tags = f"['expression {expression}', 'character {role}']"
            rows[part].append(f'{label}{number:04d},{place},{label},"{tags}","[]","[]"')
    (root / "labels").mkdir()
    header = "id,dir,class_id,tags_cat0,tags_cat3,tags_cat4"
    for name, lines in rows.items():
        (root / "labels" / f"{name}_tags.csv").write_text("\n".join([header, *lines]) + "\n")
    names = "".join(f"{label},{style.name}\n" for label, style in enumerate(styles))
    (root / "labels" / "classid_classname.csv").write_text(names)
    return build(dafull.scan(root), tmp_path_factory.mktemp("shards") / "tagged", BuildOptions(allow_duplicates=True))


def write_pieces(file: Path) -> Path:
    """A vocab.txt in BERT's layout with the words of the avatars' tags, their numbers digit by digit."""
    digits = [f"{prefix}{digit}" for prefix in ("", "##") for digit in range(10)]
    marks = ["[PAD]", *(f"[unused{number}]" for number in range(99)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    file.write_text("\n".join([*marks, "expression", "character", *digits]) + "\n")
    return file


@needs_avatars
@pytest.mark.parametrize("recipe", TINY, ids=lambda recipe: recipe.name)
def test_a_recipe_learns_from_real_drawings(
    recipe: Recipe, avatars: Manifest, tagged_avatars: Manifest, tmp_path: Path
) -> None:
    data = tagged_avatars if getattr(recipe, "text_tokens", 0) else avatars
    reports = Reports(tmp_path)
    if getattr(recipe, "tokenizer", "tags") == "wordpieces":
        recipe = dataclasses.replace(recipe, vocabulary_file=str(write_pieces(tmp_path / "vocab.txt")))
    # losses with batch statistics and with running ones cannot be compared: both epochs are of one mode
    epochs = 2 + (recipe.train_mode_epochs or 0)
    train(dataclasses.replace(recipe, epochs=epochs, images_per_epoch=IMAGES_PER_EPOCH), data, report=reports)
    before, after = reports.metrics[-2:]
    assert after["loss"] < before["loss"]
    assert 0 < after["top1" if data is tagged_avatars else "mAP"] <= 1


# one of each family, its largest that a training step of fits into ordinary memory
AT_FULL_SIZE = {
    "transreid-vit-stride": 4,
    "agw-resnet50-nl": 4,
    "dafre-128-l16": 4,
    "dafre-224-sn": 8,
    "animesion-l16-ifa": 4,
    "icartoonface-resnet50": 4,
    "open-dinov2-base": 4,
}


@pytest.mark.parametrize("name", AT_FULL_SIZE)
def test_a_family_makes_a_step_at_full_size(name: str) -> None:
    needed = 12e9  # bytes: weights, gradients, momentum and activations of the largest
    if psutil.virtual_memory().available < needed:
        pytest.skip(f"less than {needed / 1e9:.0f} GB of memory are free")
    recipe = dataclasses.replace(get_recipe(name), pretrained=False, frozen_backbone=False, precision="fp32")
    torch.manual_seed(0)
    model = build_model(recipe, 152).train()
    step = Step(recipe, model, Criterion(recipe, 152, model.backbone.width), build_optimizer(model, recipe))
    size, number = recipe.image_size, AT_FULL_SIZE[name]
    images = torch.randint(0, 256, (number, size, size, 3), dtype=torch.uint8)
    batch = Batch(images, torch.arange(number) // 2)
    first = step(batch)["loss"]
    assert first > 0
    assert step(batch)["loss"] != first


def test_every_family_is_there_at_full_size() -> None:
    assert {get_recipe(name).system for name in AT_FULL_SIZE} == {recipe.system for recipe in RECIPES.values()}
