"""Evaluates a checkpoint on a split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from trainables.data.reading import Inputs, evaluation_inputs
from trainables.device import Device
from trainables.evaluation.evaluate import evaluate, validation_precision
from trainables.evaluation.evaluation import Evaluation
from trainables.models.model import Model
from trainables.training.checkpoint import CheckpointInfo, load_model


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A checkpoint's model, and a split to evaluate it on."""

    model: Model
    info: CheckpointInfo
    evaluation: Evaluation
    inputs: Inputs
    chance: dict[str, float]  # the metrics of random features
    device: Device


def evaluate_split(checkpoint: Path, manifest: Manifest, *, split: str, fold: int | None) -> dict[str, Any]:
    """Evaluate a checkpoint on a split.

    Args:
        checkpoint: its local folder.
        split: "val" or "test".
        fold: the fold of the split; None: the fold that the checkpoint was validated on.

    Returns:
        `metrics`: name -> fraction in 0..1, with CMC as `cmc_1` and so on. `chance`: the metrics of random features.
        After a ranking also `num_valid_queries`, the number of queries that the means are over.

    Raises:
        Error: as `ask`, or an image cannot be read.
    """
    asked = ask(checkpoint, manifest, split=split, fold=fold)
    precision = validation_precision(asked.info.recipe, asked.info.epoch)
    metrics = evaluate(asked.model, asked.evaluation, asked.inputs, asked.device, precision=precision)
    counted = {name: int(metrics.pop(name)) for name in ("num_valid_queries",) if name in metrics}
    return {"metrics": metrics, **counted, "chance": asked.chance}


def ask(checkpoint: Path, manifest: Manifest, *, split: str, fold: int | None) -> Asked:
    """Load the checkpoint and open the split.

    Args:
        checkpoint: its local folder.
        split: "val" or "test".
        fold: the fold of the split; None: the fold that the checkpoint was validated on.

    Raises:
        Error: the split is empty, or its classes are not those of the checkpoint.
    """
    device = Device()
    model, info = load_model(checkpoint, device.torch_device)
    # Float sums depend on the number of threads. The training's number reproduces the training's metrics.
    torch.set_num_threads(info.num_threads)
    evaluation = Evaluation(manifest, split, info.fold if fold is None else fold)
    _refuse_other_classes(info, evaluation)
    chance = evaluation.chance()
    inputs = evaluation_inputs(info.recipe, manifest, info.vocabulary, "auto", threads=info.num_threads)
    return Asked(model=model, info=info, evaluation=evaluation, inputs=inputs, chance=chance, device=device)


def _refuse_other_classes(info: CheckpointInfo, evaluation: Evaluation) -> None:
    """Refuse data with other classes than the classifier was trained on."""
    if evaluation.ranks:
        return
    trained, asked = info.works, evaluation.trained_works
    if trained != asked:
        strange = next((name for name in asked if name not in trained), "fewer, or in another order")
        raise Error(
            f"{evaluation.manifest.store} has other classes than the checkpoint was trained on ({strange}). Give the"
            " data of its training, or train on these data with --set weights_file=CHECKPOINT pretrained=true."
        )


def as_json(result: dict[str, Any]) -> dict[str, Any]:
    """Return the command's JSON for a result of `evaluate_split`.

    Returns:
        The metrics by name, `num_valid_queries` and `chance`; `cmc` maps ranks, as text, to fractions.
    """
    counted = {name: value for name, value in result.items() if name == "num_valid_queries"}
    return {**_with_cmc(result["metrics"]), **counted, "chance": _with_cmc(result["chance"])}


def _with_cmc(metrics: dict[str, float]) -> dict[str, Any]:
    """Return the metrics with the ranks of CMC under one key."""
    plain = {name: value for name, value in metrics.items() if not name.startswith("cmc_")}
    cmc = {name.removeprefix("cmc_"): value for name, value in metrics.items() if name.startswith("cmc_")}
    return {**plain, "cmc": cmc} if cmc else plain
