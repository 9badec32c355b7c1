"""Checkpoints: folders with the weights, the training state and a description of both.

- `weights.safetensors`: the evaluated model.
- `trained.safetensors`: the trained model, if the evaluated one is its moving average.
- `state.pt`: the optimizer and the losses; only tensors and numbers, read with `weights_only=True`.
- `epoch.pt`: the position within an unfinished epoch.
- `checkpoint.json`: everything else, and the checksums of the other files. It is written last, so a folder without it
  is not a checkpoint.
"""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import safetensors
import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from shards_tools.errors import Error, reason_of
from trainables.models import build_model
from trainables.models.model import Model
from trainables.training.checkpoint_info import WEIGHTS_NAME, CheckpointInfo, check_files, read_info


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a training's results depend on."""
    return {
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "timm": timm.__version__,
        "numpy": np.__version__,
    }


def load_model(folder: Path, device: torch.device | str = "cpu") -> tuple[Model, CheckpointInfo]:
    """Return the checkpoint's evaluated model, in evaluation mode, and the content of its `checkpoint.json`.

    Raises:
        Error: the checkpoint is damaged or does not fit the recipe's model, or `read_info` refuses it.
    """
    info = read_info(folder)
    # the checkpoint has all weights, and without a backward pass no activations are recomputed
    recipe = dataclasses.replace(info.recipe, pretrained=False, weights_file=None, activation_checkpointing=False)
    model = build_model(recipe, len(info.works), len(info.vocabulary))
    check_files(folder, info, WEIGHTS_NAME)
    load_weights(model, folder / WEIGHTS_NAME)
    return model.to(device).eval(), info


def read_weights(folder: Path, info: CheckpointInfo) -> dict[str, Tensor]:
    """Return the weights of the checkpoint's evaluated model by name.

    Raises:
        Error: the file is damaged.
    """
    check_files(folder, info, WEIGHTS_NAME)
    return _read_tensors(folder / WEIGHTS_NAME)


def load_weights(model: nn.Module, file: Path) -> None:
    """Load the weights of a checkpoint's file into the model.

    Raises:
        Error: the file cannot be read, or its tensors do not match the model's by name and shape.
    """
    weights = _read_tensors(file)
    expected = model.state_dict()
    misfits = [f"{name} is missing" for name in expected.keys() - weights.keys()]
    misfits += [f"{name} is unexpected" for name in weights.keys() - expected.keys()]
    misfits += [
        f"{name} is {tuple(weights[name].shape)}, not {tuple(expected[name].shape)}"
        for name in expected.keys() & weights.keys()
        if weights[name].shape != expected[name].shape
    ]
    if misfits:
        more = f", and {len(misfits) - 3} more" if len(misfits) > 3 else ""
        raise Error(
            f"{file} does not fit the recipe's model: {'; '.join(sorted(misfits)[:3])}{more}. Use the version"
            " that wrote it, or train the recipe again."
        )
    model.load_state_dict(weights)


def _read_tensors(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (OSError, safetensors.SafetensorError) as failure:
        raise Error(f"{file} could not be read ({reason_of(failure)}). Use another checkpoint.") from failure
