"""A checkpoint is a folder: weights, training state, and what they are; more within an epoch, and of running means.

`weights.safetensors` holds the model that is evaluated, `state.pt` optimizer and losses (tensors and numbers alone,
read with `weights_only=True`), `trained.safetensors` the model that is trained where the evaluated one is its running
mean, `epoch.pt` how far an epoch has come where one is under way, and `checkpoint.json` the rest: written last, so that
a folder without it is no checkpoint.
"""

import dataclasses
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from shards_tools.errors import Error
from shards_tools.plugins import accepts_changed_code, changed_plugins, plugin_hashes
from shards_tools.registry import Registry
from trainables.losses.registry import ID_LOSSES, METRIC_LOSSES
from trainables.models import build_model
from trainables.models.model import Model
from trainables.recipes import recipe_from_dict
from trainables.recipes.backbones import BACKBONES, TIMM
from trainables.recipes.recipe import Recipe

FORMAT = 3
WEIGHTS_NAME = "weights.safetensors"
TRAINED_NAME = "trained.safetensors"
STATE_NAME = "state.pt"
INFO_NAME = "checkpoint.json"
EVALUATED = (WEIGHTS_NAME, INFO_NAME)  # what `load_model` reads


@dataclass(frozen=True, kw_only=True)
class CheckpointInfo:
    """What a checkpoint is, as `checkpoint.json` says it."""

    recipe: Recipe
    fingerprint: str  # of the data
    fold: int
    seed: int
    epoch: int  # the last whole one
    metrics: dict[str, float]  # as they were reported
    works: tuple[str, ...]  # trained on, in the order of the classifier's rows
    vocabulary: tuple[str, ...]  # the words of tags, in the order of their embeddings; none where no tags are read
    num_threads: int
    reading: str  # how the training images were read; see shards_tools/images.py
    versions: dict[str, str]
    # the user's own code, as it was given with --import -> SHA-256; a file by its absolute path
    plugins: dict[str, str] = field(default_factory=dict)


def versions() -> dict[str, str]:
    """The versions that a training's numbers depend on."""
    return {
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "timm": timm.__version__,
        "numpy": np.__version__,
    }


def read_info(folder: Path, *, any_code: bool = False) -> CheckpointInfo:
    """What the checkpoint in `folder` is.

    Args:
        any_code: accept it although the user's own code has changed since it was written.
    """
    path = folder / INFO_NAME
    if not path.is_file():
        raise Error(f"{folder} holds no checkpoint: there is no {INFO_NAME} in it. Name the folder that holds one.")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as failure:
        raise Error(f"{path} is not readable as JSON ({failure}). Take another checkpoint.") from failure
    missing = {each.name for each in dataclasses.fields(CheckpointInfo)} - set(values) - {"plugins"}
    if values.get("format") != FORMAT or missing:
        raise Error(f"{path} has format {values.get('format')!r}, not {FORMAT}. Take another checkpoint.")
    values.pop("format")
    metrics = {name: math.nan if value is None else value for name, value in values["metrics"].items()}
    plugins = values.get("plugins", {})
    _refuse_unregistered(folder, values["recipe"], plugins)
    if not any_code:
        _refuse_changed_code(folder, values["recipe"], plugins)
    recipe = recipe_from_dict(values["recipe"])
    labels = {name: tuple(values[name]) for name in ("works", "vocabulary")}
    return CheckpointInfo(**{**values, "recipe": recipe, "metrics": metrics, **labels})


REGISTRIES: dict[str, Registry[Any]] = {"backbone": BACKBONES, "metric_loss": METRIC_LOSSES, "id_loss": ID_LOSSES}


def _refuse_unregistered(folder: Path, recipe: Mapping[str, Any], plugins: Mapping[str, str]) -> None:
    for key, registry in REGISTRIES.items():
        name = recipe.get(key, "")
        if not name or name in registry or name.startswith(TIMM):
            continue
        files = " ".join(f"--import {plugin}" for plugin in plugins) or "--import FILE.py, the file that registers it"
        raise Error(f"{folder} needs {key}={name}, which is not registered. Add {files}.")


def _refuse_changed_code(folder: Path, recipe: Mapping[str, Any], plugins: Mapping[str, str]) -> None:
    """Refuse a checkpoint that was written with other code of the user's than is loaded now."""
    if accepts_changed_code():
        return
    changed = changed_plugins(plugins)
    needs_own_code = any(recipe.get(key) in registry.added for key, registry in REGISTRIES.items())
    if needs_own_code and not set(plugins.values()) & set(plugin_hashes().values()):
        changed += plugins  # its names are registered by code that it does not know
    if changed:
        raise Error(
            f"{folder} was trained with another version of {changed[0]}. Restore that version, or add"
            " --accept-changed-code."
        )


def load_model(folder: Path, device: torch.device | str = "cpu") -> tuple[Model, CheckpointInfo]:
    """The checkpoint's model in evaluation mode, and what it is."""
    info = read_info(folder)
    # its weights are in the checkpoint: none are fetched; and it is not trained: no activations are made again
    recipe = dataclasses.replace(info.recipe, pretrained=False, weights_file=None, activation_checkpointing=False)
    model = build_model(recipe, len(info.works), len(info.vocabulary))
    load_weights(model, folder / WEIGHTS_NAME)
    return model.to(device).eval(), info


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of the checkpoint's evaluated model, by name."""
    return _read_tensors(folder / WEIGHTS_NAME)


def load_weights(model: nn.Module, file: Path) -> None:
    """Fill the model from a checkpoint's file; refuses by name what is missing, too much, or of another shape."""
    weights = _read_tensors(file)
    expected = model.state_dict()
    misfits = [f"{name} is missing" for name in expected.keys() - weights.keys()]
    misfits += [f"{name} is too much" for name in weights.keys() - expected.keys()]
    misfits += [
        f"{name} is {tuple(weights[name].shape)}, not {tuple(expected[name].shape)}"
        for name in expected.keys() & weights.keys()
        if weights[name].shape != expected[name].shape
    ]
    if misfits:
        more = f", and {len(misfits) - 3} more" if len(misfits) > 3 else ""
        raise Error(
            f"{file} does not fit the recipe's model: {'; '.join(sorted(misfits)[:3])}{more}. It was written by another"
            " version: use that version, or train the recipe again."
        )
    model.load_state_dict(weights)


def _read_tensors(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (OSError, safetensors.SafetensorError) as failure:
        raise Error(f"{file} could not be read ({failure}). Take another checkpoint.") from failure


def as_json(info: CheckpointInfo) -> str:
    """The text of `checkpoint.json`."""
    values = dataclasses.asdict(info)
    # JSON has no NaN: null stands for it
    values["metrics"] = {name: value if math.isfinite(value) else None for name, value in info.metrics.items()}
    return json.dumps({"format": FORMAT, **values}, indent=1) + "\n"
