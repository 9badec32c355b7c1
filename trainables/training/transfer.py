"""Take weights from another training's checkpoint, also with other classes, or use its model as a teacher."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from shards_tools.errors import Error
from trainables.models import build_model
from trainables.models.model import Model
from trainables.models.weights import LoadReport, take
from trainables.recipes.recipe import ClassifierRecipe, Recipe
from trainables.training.checkpoint import load_model, read_weights
from trainables.training.checkpoint_info import CheckpointInfo, read_info

log = logging.getLogger(__name__)


def start_from_checkpoint(model: Model, folder: Path, works: Sequence[str]) -> LoadReport:
    """Load the checkpoint's weights by name and shape; of a classifier, the rows of works with the same name.

    Args:
        works: the names of the model's classes, in the order of its rows.
    """
    info = read_info(folder, any_code=True)  # its weights fit by name and shape, whatever made them
    states = dict(read_weights(folder, info))
    own = model.state_dict()
    _drop_other_positions(states, model, info)
    rows = {name: row for row, name in enumerate(info.works)}
    shared = [(row, rows[name]) for row, name in enumerate(works) if name in rows]
    for name, value in own.items():
        if name.startswith("head.classifiers") and name in states:
            states[name] = _with_rows(value, states, name, shared)
    log.info("%d of %d classes are in the checkpoint %s", len(shared), len(works), folder)
    return take(model, states, str(folder))


def _drop_other_positions(states: dict[str, Tensor], model: Model, info: CheckpointInfo) -> None:
    """Remove position embeddings of another grid: a square and a rectangle may have equally many."""
    own, size = model.patch_grid, info.recipe.size
    if own is None or (own[0] == own[1] and size.height == size.width):
        return
    bare = dataclasses.replace(info.recipe, pretrained=False, weights_file=None)
    with torch.device("meta"):
        grid = build_model(bare, len(info.works), len(info.vocabulary)).patch_grid
    if grid != own:
        for name in [name for name in states if name.endswith("pos_embed")]:
            del states[name]


def load_teacher(recipe: Recipe, works: Sequence[str], device: torch.device) -> Model | None:
    """Return the recipe's teacher in evaluation mode, or None.

    Raises:
        Error: the teacher has other classes or another image size.
    """
    if not isinstance(recipe, ClassifierRecipe) or recipe.teacher is None:
        return None
    teacher, info = load_model(Path(recipe.teacher), device)
    if info.works != tuple(works):
        raise Error(
            f"{recipe.name}: the teacher {recipe.teacher} has {len(info.works)} classes, not the {len(works)} of"
            " this training. Use a teacher that was trained on the same data."
        )
    if info.recipe.image_size != recipe.image_size:
        raise Error(
            f"{recipe.name}: the teacher {recipe.teacher} has an image size of {info.recipe.image_size} px, but this"
            f" training {recipe.image_size}. Set image_size={info.recipe.image_size}."
        )
    return teacher.requires_grad_(False)


def _with_rows(value: Tensor, states: Mapping[str, Tensor], name: str, shared: Sequence[tuple[int, int]]) -> Tensor:
    if value.shape[1:] != states[name].shape[1:]:
        return states[name]
    mixed = value.clone()
    for row, source in shared:
        mixed[row] = states[name][source]
    return mixed
