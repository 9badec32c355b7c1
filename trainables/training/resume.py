"""Write a training to a checkpoint, and restore it from one."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from shards_tools.errors import Error, reason_of
from shards_tools.plugins import plugin_hashes
from trainables.training.checkpoint import (
    INFO_NAME,
    STATE_NAME,
    TRAINED_NAME,
    WEIGHTS_NAME,
    CheckpointInfo,
    as_json,
    load_weights,
    versions,
)
from trainables.training.progress import Progress, save_progress
from trainables.training.train_state import TrainState

FORMER_NAMES = {"optimiser": "optimizer", "centre.centres": "center.centers"}  # in states that 0.1.0 wrote


def save_checkpoint(
    training: TrainState, epoch: int, metrics: dict[str, float], progress: Progress | None, folder: Path
) -> None:
    """Write the checkpoint into `folder`, which the caller owns.

    Args:
        epoch: the last completed epoch.
        metrics: as reported after it.
        progress: of the next epoch, if it has started.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _save_weights(training.evaluated_model, folder / WEIGHTS_NAME)
    if training.averaged is not None:
        _save_weights(training.model, folder / TRAINED_NAME)
    state = {"optimizer": training.optimizer.state_dict(), "losses": training.criterion.state_dict()}
    torch.save(state, folder / STATE_NAME)
    if progress is not None:
        save_progress(folder, progress)
    (folder / INFO_NAME).write_text(as_json(_info(training, epoch, metrics)), encoding="utf-8")


def load_training(training: TrainState, folder: Path) -> None:
    """Restore a training from a checkpoint.

    Raises:
        Error: the checkpoint is damaged.
    """
    load_weights(training.evaluated_model, folder / WEIGHTS_NAME)
    if training.averaged is not None:
        load_weights(training.model, folder / TRAINED_NAME)
    path = folder / STATE_NAME
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = _with_current_names(state)
        training.optimizer.load_state_dict(state["optimizer"])
        training.criterion.load_state_dict(_with_current_names(state["losses"]))
    except Exception as failure:  # a damaged file raises nearly anything
        raise Error(f"{path} holds no training state ({reason_of(failure)}). Use another checkpoint.") from failure


def _with_current_names(state: dict[str, Any]) -> dict[str, Any]:
    return {FORMER_NAMES.get(name, name): value for name, value in state.items()}


def _info(training: TrainState, epoch: int, metrics: dict[str, float]) -> CheckpointInfo:
    return CheckpointInfo(
        recipe=training.recipe,
        fingerprint=training.manifest.fingerprint,
        fold=training.fold,
        seed=training.seed,
        epoch=epoch,
        metrics=metrics,
        works=tuple(training.manifest.works[work] for work in training.works),
        vocabulary=training.vocabulary,
        num_threads=torch.get_num_threads(),
        reading=training.reading,
        versions=versions(),
        plugins=plugin_hashes(),
    )


def _save_weights(model: nn.Module, file: Path) -> None:
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}, file)
