"""Write a training to a checkpoint, and restore it from one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from shards_tools.errors import Error, reason_of
from shards_tools.plugins import plugin_hashes
from trainables.training.checkpoint import load_weights, versions
from trainables.training.checkpoint_info import (
    INFO_NAME,
    STATE_NAME,
    TRAINED_NAME,
    WEIGHTS_NAME,
    CheckpointInfo,
    as_json,
    check_files,
    checksum_of,
    read_info,
)
from trainables.training.checkpoint_store import resumed
from trainables.training.progress import PROGRESS_NAME, Progress, save_progress
from trainables.training.train_state import TrainState
from trainables.training.trial_report import Save

Tensors = dict[str, Tensor]
Buffers = dict[str, Tensor]  # host memory for copies, by the place of a tensor in a checkpoint
FORMER_NAMES = {"optimiser": "optimizer", "centre.centres": "center.centers"}  # in states that 0.1.0 wrote


class CurrentCheckpoint:
    """The checkpoint of a training as it is now.

    Args:
        epoch: the last completed epoch.
        metrics: as reported after it.
        progress: of the next epoch, if it has started.
    """

    def __init__(self, training: TrainState, epoch: int, metrics: dict[str, float], progress: Progress | None) -> None:
        self._info = _info(training, epoch, metrics)
        self._progress, self._device = progress, training.device
        self._models = {WEIGHTS_NAME: dict(training.evaluated_model.state_dict())}
        if training.averaged is not None:
            self._models[TRAINED_NAME] = dict(training.model.state_dict())
        self._state = {"optimizer": training.optimizer.state_dict(), "losses": dict(training.criterion.state_dict())}
        if training.step.scaler.is_enabled():
            self._state["scaler"] = training.step.scaler.state_dict()

    def __call__(self, folder: Path) -> None:
        """Write the checkpoint into `folder`, which the caller owns."""
        _write(folder, self._models, self._state, self._progress, self._info)

    def copied(self, buffers: Buffers) -> Save:
        """Copy the checkpoint, and return a function that writes the copy while the training continues.

        Args:
            buffers: hold the copy; the next call with the same buffers overwrites it.
        """
        models = host_copy(self._models, buffers, "models", contiguous=True)
        state = host_copy(self._state, buffers, "state")
        wait = self._device.completion()

        def write(folder: Path) -> None:
            wait()
            _write(folder, models, state, self._progress, self._info)

        return write


def _write(
    folder: Path, models: dict[str, Tensors], state: dict[str, Any], progress: Progress | None, info: CheckpointInfo
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, weights in models.items():
        save_file({key: tensor.detach().cpu().contiguous() for key, tensor in weights.items()}, folder / name)
    torch.save(state, folder / STATE_NAME)
    if progress is not None:
        save_progress(folder, progress)
    names = [*models, STATE_NAME, *([PROGRESS_NAME] if progress is not None else [])]
    info = replace(info, checksums={name: checksum_of(folder / name) for name in names})
    (folder / INFO_NAME).write_text(as_json(info), encoding="utf-8")


@contextmanager
def newest_intact(places: Sequence[str]) -> Iterator[tuple[Path | None, str]]:
    """Yield the folder of the first checkpoint that is intact, or None, and what to tell the user about damaged ones.

    Args:
        places: folders or addresses of checkpoints, the newest first.

    Raises:
        BucketAway: a bucket does not answer.
    """
    notice = ""
    for place in places:
        with resumed(place) as folder:
            try:
                check_files(folder, read_info(folder, any_code=True))
            except Error:
                notice = f"{place} is damaged, so the trial resumes from an earlier checkpoint."
                continue
            yield folder, notice
            return
    yield None, notice and f"{places[0]} is damaged, and so is the one before: the trial starts from its first epoch."


@torch.no_grad()
def host_copy(values: Any, buffers: Buffers, place: str = "", *, contiguous: bool = False) -> Any:
    """Return a copy of nested dicts and lists whose tensors are in `buffers`.

    Copies from a GPU may still be under way: wait with `Device.launched`.

    Args:
        values: tensors, numbers and strings, in dicts and lists. Outside of tensors nothing is modified in place.
        buffers: by place; those that are missing are added, in pinned memory for tensors on a GPU.
        place: of `values` in `buffers`.
        contiguous: whether the copies are contiguous; otherwise, they have the strides of the tensors.
    """
    if isinstance(values, dict):
        return {key: host_copy(each, buffers, f"{place}/{key}", contiguous=contiguous) for key, each in values.items()}
    if isinstance(values, list):
        return [host_copy(each, buffers, f"{place}/{at}", contiguous=contiguous) for at, each in enumerate(values)]
    if not isinstance(values, Tensor):
        return values
    if place not in buffers:
        layout = torch.contiguous_format if contiguous else torch.preserve_format
        buffers[place] = torch.empty_like(values, device="cpu", memory_format=layout, pin_memory=values.is_cuda)
    return buffers[place].copy_(values, non_blocking=True)


def load_training(training: TrainState, folder: Path) -> None:
    """Restore a training from a checkpoint.

    Raises:
        Error: the checkpoint is damaged.
    """
    check_files(folder, read_info(folder, any_code=True))
    load_weights(training.evaluated_model, folder / WEIGHTS_NAME)
    if training.averaged is not None:
        load_weights(training.model, folder / TRAINED_NAME)
    path = folder / STATE_NAME
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = _with_current_names(state)
        training.optimizer.load_state_dict(state["optimizer"])
        training.criterion.load_state_dict(_with_current_names(state["losses"]))
        training.step.scaler.load_state_dict(state.get("scaler", {}))
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
        conversion=training.manifest.conversion,
        trained_on=training.manifest.trained_on,
        test_fold=training.manifest.test_fold,
    )
