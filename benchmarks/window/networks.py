"""Recipes, networks and batches that the sections measure."""

import functools
from collections.abc import Generator
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.window.session import DEVICE, Session
from trainables.data.batches import Batch, EpochBatches, TrainingSet
from trainables.data.reading import training_images
from trainables.distributed import ALONE, DistributedContext
from trainables.losses.criterion import Criterion
from trainables.models import build_model
from trainables.models.model import Model
from trainables.recipes import RECIPES, get_recipe
from trainables.recipes.recipe import Recipe
from trainables.recipes.settings import override, settable
from trainables.training.optimizer import build_optimizer
from trainables.training.step import Step

NUM_WORKS = 152  # as in LSASRD's code
FLOP_IMAGES = 8  # batch size for counting operations

Parts = tuple[Model, Criterion, torch.optim.Optimizer]


def make_recipe(session: Session, name: str, **values: object) -> Any:
    """Return a recipe with fresh weights and these settings, or its tiny form in a tiny run.

    Settings that this family lacks are dropped; a setting that no family has is an error.
    """
    _refuse_unknown(values)
    recipe = get_recipe(f"{name}-tiny" if session.tiny and f"{name}-tiny" in RECIPES else name)
    if recipe.name != name:
        values.pop("image_size", None)
    known = settable(recipe)
    return override(recipe, {"pretrained": False, **{key: value for key, value in values.items() if key in known}})


@functools.cache
def _settings_of_any_family() -> frozenset[str]:
    return frozenset(key for recipe in RECIPES.values() for key in settable(recipe))


def _refuse_unknown(values: dict[str, object]) -> None:
    unknown = values.keys() - _settings_of_any_family()
    if unknown:
        raise KeyError(f"No recipe has the settings {', '.join(sorted(unknown))}.")


def build_parts(recipe: Recipe, num_works: int = NUM_WORKS, num_words: int = 0, device: torch.device = DEVICE) -> Parts:
    """Return model, losses and optimizer in training mode, with weights initialized on the device."""
    torch.backends.cudnn.benchmark = True
    with device:
        model = build_model(recipe, num_works, num_words)
        width, num_branches = int(model.backbone.width), int(model.backbone.num_branches)  # type: ignore[arg-type]
        losses = Criterion(recipe, num_works, width, num_branches).to(device).train()
    model = model.to(device).train()
    if recipe.channels_last:
        model = model.to(memory_format=torch.channels_last)
    return model, losses, build_optimizer(model, recipe, losses)


def build_step(
    recipe: Recipe, num_works: int = NUM_WORKS, num_words: int = 0, ranks: DistributedContext = ALONE
) -> Step:
    """Return the training step of a fresh network."""
    return Step(recipe, *build_parts(recipe, num_works, num_words), ranks)


def random_batch(recipe: Any, num_works: int = NUM_WORKS, num_words: int = 0) -> Batch:
    """Return a batch of random pixels, and of random tags unless `num_words` is 0."""
    size = recipe.batch_size
    pixels = torch.randint(256, (size, *recipe.size, 3), dtype=torch.uint8)
    works = (torch.arange(size) // getattr(recipe, "images_per_work", 1)) % num_works
    if not num_words:
        return Batch(pixels, works)
    words = torch.randint(1, num_words, (size, recipe.text_tokens))
    return Batch(pixels, works, words, torch.where(torch.rand(words.shape) < 0.15, words, -100))


@functools.cache
def operations(recipe: Recipe) -> tuple[float, float]:
    """Return the FLOP per image of a training step and of an evaluation, from shapes alone."""
    plain = override(recipe, {"erase_probability": 0.0, "compiled": False, "activation_checkpointing": False})
    with torch.device("meta"):
        model = build_model(plain, NUM_WORKS).train()
        images = torch.empty((FLOP_IMAGES, *plain.size, 3), dtype=torch.uint8)
    with FlopCounterMode(display=False) as training:
        torch.stack([logits.sum() for logits in model(images).logits]).sum().backward()  # type: ignore[no-untyped-call]
    with FlopCounterMode(display=False) as evaluation, torch.no_grad():
        model.eval().embed(images)
    return training.get_total_flops() / FLOP_IMAGES, evaluation.get_total_flops() / FLOP_IMAGES


def training_batches(session: Session, recipe: Recipe) -> Generator[Batch]:
    """Yield the loader's batches of drawn images from decoded pixels, epoch after epoch, without end."""
    manifest = session.drawn()
    split = manifest.split(0)
    _, labels = np.unique(manifest.work[split.train], return_inverse=True)
    images = training_images(recipe, manifest, "decoded", threads=torch.get_num_threads())
    data = TrainingSet(images, split.train, labels.astype(np.int64), manifest.role[split.train])
    epoch = 0
    while True:
        epoch += 1
        yield from EpochBatches(data, recipe, seed=0, epoch=epoch).start()
