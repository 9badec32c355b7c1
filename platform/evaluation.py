"""Evaluates a checkpoint on a split."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from shards_tools.errors import MAX_REASON, Error, listed
from shards_tools.manifest import Manifest
from trainables.data.reading import Inputs, evaluation_inputs
from trainables.device import Device
from trainables.evaluation.evaluate import evaluate, validation_precision
from trainables.evaluation.evaluation import Evaluation, Metrics
from trainables.evaluation.options import EvaluationOptions, evaluate_with
from trainables.models.model import Model
from trainables.training.checkpoint import load_model
from trainables.training.checkpoint_info import CheckpointInfo, refuse_trained_split

PLAIN = EvaluationOptions()


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A checkpoint's model, and a split to evaluate it on."""

    model: Model
    info: CheckpointInfo
    evaluation: Evaluation
    inputs: Inputs
    chance: dict[str, float]  # the metrics of random features
    device: Device


def evaluate_split(
    checkpoint: Path,
    manifest: Manifest,
    *,
    split: str,
    fold: int | None,
    options: EvaluationOptions = PLAIN,
) -> dict[str, Any]:
    """Evaluate a checkpoint on a split.

    Args:
        checkpoint: its local folder.
        split: "val" or "test".
        fold: the fold of the split; None: the fold that the checkpoint was validated on.
        options: flip augmentation, query expansion and re-ranking.

    Returns:
        `metrics`: name -> fraction in 0..1, with CMC as `cmc_1` and so on. `chance`: the metrics of random features.
        After a ranking also `num_valid_queries`, the number of queries that the means are over. With options also
        `plain`: the metrics without them.

    Raises:
        Error: as `ask`, an option does not fit the data, or an image cannot be read.
    """
    asked = ask(checkpoint, manifest, split=split, fold=fold)
    options.check(asked.evaluation)
    precision = validation_precision(asked.info.recipe, asked.info.epoch)
    parts = asked.model, asked.evaluation, asked.inputs, asked.device
    plain: Metrics = {}
    if options == PLAIN:
        metrics = evaluate(*parts, precision=precision)
    else:
        metrics, plain = evaluate_with(options, *parts, precision=precision)
    counted = {name: int(metrics.pop(name)) for name in ("num_valid_queries",) if name in metrics}
    found = {"metrics": metrics, **counted, "chance": asked.chance}
    return {**found, "plain": {**plain, **counted}} if plain else found


def ask(checkpoint: Path, manifest: Manifest, *, split: str, fold: int | None) -> Asked:
    """Load the checkpoint and open the split.

    Args:
        checkpoint: its local folder.
        split: "val" or "test".
        fold: the fold of the split; None: the fold that the checkpoint was validated on.

    Raises:
        Error: the split is empty, the checkpoint was trained on it, or does not know all of its classes.
    """
    device = Device()
    model, info = load_model(checkpoint, device.torch_device)
    # Float sums depend on the number of threads. The training's number reproduces the training's metrics.
    torch.set_num_threads(info.num_threads)
    at = info.fold if fold is None else fold
    refuse_trained_split(info, Evaluation(manifest, split, at))
    if split == "test":
        manifest = manifest.with_trained(info.trained_on)  # the training images of each class are counted
    evaluation = Evaluation(manifest, split, at, class_names=info.works)
    _refuse_unknown_classes(evaluation)
    chance = evaluation.chance()
    inputs = evaluation_inputs(info.recipe, manifest, info.vocabulary, "auto", threads=info.num_threads)
    return Asked(model=model, info=info, evaluation=evaluation, inputs=inputs, chance=chance, device=device)


def _refuse_unknown_classes(evaluation: Evaluation) -> None:
    """Refuse images of classes that the classifier was not trained on."""
    unknown = [] if evaluation.ranks else evaluation.unknown_classes
    if not unknown:
        return
    names = textwrap.shorten(listed(unknown), MAX_REASON, placeholder=", ...")
    raise Error(
        f"{evaluation.manifest.store} has classes that the checkpoint was not trained on: {names}. Build shards"
        " of its classes alone, or train on these with --set weights_file=CHECKPOINT pretrained=true."
    )


def as_json(result: dict[str, Any]) -> dict[str, Any]:
    """Return the command's JSON for a result of `evaluate_split`.

    Returns:
        The metrics by name, `num_valid_queries`, `chance` and, with options, `plain`; `cmc` maps ranks, as text, to
        fractions.
    """
    counted = {name: value for name, value in result.items() if name == "num_valid_queries"}
    beside: dict[str, Any] = {name: _with_cmc(result[name]) for name in ("chance", "plain") if name in result}
    return {**_with_cmc(result["metrics"]), **counted, **beside}


def _with_cmc(metrics: dict[str, float]) -> dict[str, Any]:
    """Return the metrics with the ranks of CMC under one key."""
    plain = {name: value for name, value in metrics.items() if not name.startswith("cmc_")}
    cmc = {name.removeprefix("cmc_"): value for name, value in metrics.items() if name.startswith("cmc_")}
    return {**plain, "cmc": cmc} if cmc else plain
