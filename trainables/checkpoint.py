"""A checkpoint is a folder of three files: weights, training state, and what they are; a fourth within an epoch.

`weights.safetensors` holds the model, `state.pt` the optimiser (tensors and numbers alone, read with
`weights_only=True`), `epoch.pt` how far an epoch has come where one is under way, and `checkpoint.json` the rest:
written last, so that a folder without it is no checkpoint.
"""

import dataclasses
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from shards_tools.errors import Error
from trainables.models import build_model
from trainables.progress import Progress, save_progress
from trainables.recipes import recipe_from_dict
from trainables.recipes.recipe import Recipe

FORMAT = 2
WEIGHTS_NAME = "weights.safetensors"
STATE_NAME = "state.pt"
INFO_NAME = "checkpoint.json"


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
    num_threads: int
    reading: str  # how the training images were read; see shards_tools/images.py
    versions: dict[str, str]


def versions() -> dict[str, str]:
    """The versions that a training's numbers depend on."""
    return {
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "timm": timm.__version__,
        "numpy": np.__version__,
    }


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    info: CheckpointInfo,
    progress: Progress | None = None,
) -> None:
    """Write the checkpoint into `folder`, which the caller owns; `progress` is that of the epoch after `info.epoch`."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / WEIGHTS_NAME)
    torch.save(optimiser.state_dict(), folder / STATE_NAME)
    if progress is not None:
        save_progress(folder, progress)
    (folder / INFO_NAME).write_text(json.dumps({"format": FORMAT, **_as_json(info)}, indent=1) + "\n", encoding="utf-8")


def read_info(folder: Path) -> CheckpointInfo:
    """What the checkpoint in `folder` is."""
    path = folder / INFO_NAME
    if not path.is_file():
        raise Error(f"{folder} holds no checkpoint: there is no {INFO_NAME} in it. Name the folder that holds one.")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as failure:
        raise Error(f"{path} is not readable as JSON ({failure}). Take another checkpoint.") from failure
    missing = {field.name for field in dataclasses.fields(CheckpointInfo)} - set(values)
    if values.get("format") != FORMAT or missing:
        raise Error(f"{path} has format {values.get('format')!r}, not {FORMAT}. Take another checkpoint.")
    values.pop("format")
    metrics = {name: math.nan if value is None else value for name, value in values["metrics"].items()}
    recipe = recipe_from_dict(values["recipe"])
    return CheckpointInfo(**{**values, "recipe": recipe, "metrics": metrics, "works": tuple(values["works"])})


def load_model(folder: Path, device: torch.device | str = "cpu") -> tuple[nn.Module, CheckpointInfo]:
    """The checkpoint's model in evaluation mode, and what it is."""
    info = read_info(folder)
    # its weights are in the checkpoint: none are fetched
    recipe = dataclasses.replace(info.recipe, pretrained=False)
    model = build_model(recipe, len(info.works))
    load_weights(model, folder)
    return model.to(device).eval(), info


def load_weights(model: nn.Module, folder: Path) -> None:
    """Fill the model from the checkpoint; refuses by name what is missing, too much, or of another shape."""
    path = folder / WEIGHTS_NAME
    try:
        weights = load_file(path)
    except (OSError, safetensors.SafetensorError) as failure:
        raise Error(f"{path} could not be read ({failure}). Take another checkpoint.") from failure
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
        raise Error(f"{path} does not fit the recipe's model: {'; '.join(sorted(misfits)[:3])}{more}.")
    model.load_state_dict(weights)


def load_training_state(folder: Path, optimiser: torch.optim.Optimizer) -> None:
    """Put the optimiser back to where the checkpoint was written."""
    path = folder / STATE_NAME
    try:
        optimiser.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as failure:  # a damaged file raises nearly anything
        raise Error(f"{path} holds no state of the optimiser ({failure}). Take another checkpoint.") from failure


def _as_json(info: CheckpointInfo) -> Mapping[str, Any]:
    values = dataclasses.asdict(info)
    # JSON has no NaN: null stands for it
    values["metrics"] = {name: value if math.isfinite(value) else None for name, value in info.metrics.items()}
    return values
