"""The description of a checkpoint, `checkpoint.json`, and the checksums in it. Reading it needs no torch."""

from __future__ import annotations

import dataclasses
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shards_tools.conversion import AS_STORED, Conversion
from shards_tools.errors import Error
from shards_tools.manifest import TRAINED_ON, Manifest
from shards_tools.plugins import accepts_changed_code, changed_plugins, plugin_hashes, shown_name
from shards_tools.records import parse_object, record, short_repr
from shards_tools.registry import Registry
from trainables.evaluation.evaluation import Evaluation, with_nan, without_nan
from trainables.losses.registry import ID_LOSSES, METRIC_LOSSES
from trainables.recipes import recipe_from_dict
from trainables.recipes.backbones import BACKBONES, TIMM
from trainables.recipes.recipe import ClassifierRecipe, Recipe

FORMAT = 3
WEIGHTS_NAME = "weights.safetensors"
TRAINED_NAME = "trained.safetensors"
STATE_NAME = "state.pt"
INFO_NAME = "checkpoint.json"
CHECKED_BYTES = 2**22  # read at once for a checksum
EVALUATED = (WEIGHTS_NAME, INFO_NAME)  # files that `load_model` reads


@dataclass(frozen=True, kw_only=True)
class CheckpointInfo:
    """The content of `checkpoint.json`."""

    recipe: Recipe
    fingerprint: str  # of the data
    fold: int
    seed: int
    epoch: int  # the last completed one
    metrics: dict[str, float]  # as reported after this epoch
    works: tuple[str, ...]  # that it was trained on, in the order of the classifier's rows
    vocabulary: tuple[str, ...]  # of tags, in the order of their embeddings; empty if the recipe reads none
    num_threads: int
    reading: str  # how images were read; see shards_tools/images.py
    versions: dict[str, str]
    # the user's code: the argument of --import, absolute if it is a file -> SHA-256
    plugins: dict[str, str] = field(default_factory=dict)
    conversion: Conversion = AS_STORED  # of the pictures that it was trained on
    trained_on: tuple[str, ...] = TRAINED_ON  # splits
    test_fold: int | None = None  # of five-fold data: kept out of the training
    checksums: dict[str, str] = field(default_factory=dict)  # of the checkpoint's other files; 0.1.0 wrote none


@dataclass(frozen=True, kw_only=True)
class _Stored(CheckpointInfo):
    """The values of the file, before the recipe is built."""

    recipe: dict[str, Any]  # type: ignore[assignment]
    metrics: dict[str, float | None]  # type: ignore[assignment]


def read_info(folder: Path, *, any_code: bool = False) -> CheckpointInfo:
    """Return the content of the `checkpoint.json` in `folder`.

    Args:
        any_code: accept a checkpoint even if the user's code has changed since it was written.

    Raises:
        Error: there is no checkpoint, it has another format, it needs names that are not registered, or it was written
            with another version of the user's code.
    """
    path = folder / INFO_NAME
    if not path.is_file():
        below = sorted(found.parent for found in folder.glob(f"*/{INFO_NAME}"))
        remedy = f"Did you mean {below[0]}?" if below else "Use the folder that contains this file."
        raise Error(f"{folder} holds no checkpoint: it has no {INFO_NAME}. {remedy}")
    try:
        values = parse_object(path.read_bytes())
    except ValueError as failure:
        raise Error(f"{path} is not valid JSON ({failure}). Use another checkpoint.") from failure
    found = values.pop("format", None)
    if found != FORMAT:
        version = "Use the version that wrote it, or another checkpoint."
        raise Error(f"{path} has format {short_repr(found)}, not {FORMAT}. {version}")
    try:
        stored = record(_Stored, values)
        if not stored.works:
            raise ValueError("it names no works")
        if odd := [name for name in stored.checksums if not re.fullmatch(r"\w+\.\w+", name)]:
            raise ValueError(f"it has a checksum of {short_repr(odd[0])}, which does not belong to a checkpoint")
    except ValueError as failure:
        raise Error(f"{path} is damaged: {failure}. Use another checkpoint.") from failure
    _refuse_unregistered(folder, stored.recipe, stored.plugins)
    if not any_code:
        _refuse_changed_code(folder, stored.recipe, stored.plugins)
    recipe, metrics = recipe_from_dict(stored.recipe), with_nan(stored.metrics)
    return CheckpointInfo(**{**vars(stored), "recipe": recipe, "metrics": metrics})


def refuse_trained_split(info: CheckpointInfo, evaluation: Evaluation) -> None:
    """Refuse to evaluate a checkpoint on images that it was trained on.

    Raises:
        Error: it was, on at least one; a fold that was kept out of the training is allowed.
    """
    manifest = evaluation.manifest
    if not _has_seen(info, evaluation):
        return
    instead = ""
    if "val" not in info.trained_on:
        instead = f", or evaluate with --split val --fold {info.fold}"
    elif info.test_fold is not None:
        instead = f", or evaluate with --split val --fold {info.test_fold}"
    elif len(Evaluation(manifest, "test").query):
        instead = ", or evaluate with --split test"
    raise Error(
        f"The checkpoint was trained on {_trained_part(info)} of {manifest.store}: {evaluation.split} would only show"
        f" what it has seen. Use other shards{instead}."
    )


def refuse_seen_images(recipe: Recipe, manifest: Manifest, fold: int) -> None:
    """Refuse checkpoints to start or learn from that were trained on images on which the training is evaluated.

    Args:
        recipe: names them in `weights_file` and `teacher`.
        manifest: of the training.
        fold: of the training.

    Raises:
        Error: one was, on at least one image, or it cannot be read.
    """
    teacher = recipe.teacher if isinstance(recipe, ClassifierRecipe) else None
    for key, place in (("weights_file", recipe.weights_file), ("teacher", teacher)):
        folder = Path(place or "")
        if folder.name == WEIGHTS_NAME:
            folder = folder.parent
        if place is None or not (folder / INFO_NAME).is_file():
            continue
        info = read_info(folder, any_code=True)
        for split in ("val", "test"):
            if _has_seen(info, Evaluation(manifest, split, fold)):
                raise Error(
                    f"{key}={place} was trained on {_trained_part(info)} of {manifest.store}, with images of the"
                    f" {split} split of this training. Its metrics would be too good. Use a checkpoint of other data,"
                    " or one that was trained on the same split."
                )


def _has_seen(info: CheckpointInfo, evaluation: Evaluation) -> bool:
    manifest = evaluation.manifest
    if info.fingerprint != manifest.fingerprint:
        return False
    trained = dataclasses.replace(manifest, test_fold=info.test_fold, trained_on=info.trained_on)
    return bool(np.isin(evaluation.ranked_images, trained.split(info.fold).train).any())


def _trained_part(info: CheckpointInfo) -> str:
    """Return what a checkpoint was trained on, for people."""
    if "val" in info.trained_on:
        return "train and val"
    kept = [info.fold] if info.test_fold is None else [info.fold, info.test_fold]
    return f"all folds but {' and '.join(map(str, kept))}"


REGISTRIES: dict[str, Registry[Any]] = {"backbone": BACKBONES, "metric_loss": METRIC_LOSSES, "id_loss": ID_LOSSES}


def _refuse_unregistered(folder: Path, recipe: Mapping[str, Any], plugins: Mapping[str, str]) -> None:
    for key, registry in REGISTRIES.items():
        name = recipe.get(key, "")
        if not isinstance(name, str) or not name or name in registry or name.startswith(TIMM):
            continue  # what is no text is refused with the recipe
        files = (
            " ".join(f"--import {shown_name(plugin)}" for plugin in plugins)
            or "--import FILE.py, the file that registers it"
        )
        raise Error(f"{folder} needs {key}={name}, which is not registered. Add {files}.")


def _refuse_changed_code(folder: Path, recipe: Mapping[str, Any], plugins: Mapping[str, str]) -> None:
    """Refuse a checkpoint that was written with another version of the user's code than the loaded one."""
    if accepts_changed_code():
        return
    changed = changed_plugins(plugins)
    needs_own_code = any(str(recipe.get(key)) in registry.added for key, registry in REGISTRIES.items())
    if needs_own_code and not set(plugins.values()) & set(plugin_hashes().values()):
        changed += plugins  # the code that registers its names now is not the code that it records
    if changed:
        raise Error(
            f"{folder} was trained with another version of {shown_name(changed[0])}. Restore that version, or add"
            " --accept-changed-code."
        )


def checksum_of(file: Path) -> str:
    """Return the CRC-32 of a file, which finds damage and takes a third of the time of SHA-256."""
    crc = 0
    with file.open("rb") as content:
        while block := content.read(CHECKED_BYTES):
            crc = zlib.crc32(block, crc)
    return f"crc32:{crc:08x}"


def check_files(folder: Path, info: CheckpointInfo, *names: str) -> None:
    """Compare files of a checkpoint with their checksums.

    Args:
        folder: the checkpoint.
        info: its `checkpoint.json`.
        names: of the files; none: all that have a checksum.

    Raises:
        Error: a file is missing or differs.
    """
    for name in names or info.checksums:
        known = info.checksums.get(name)
        try:
            found = known and checksum_of(folder / name)
        except OSError as failure:
            raise Error(f"{folder / name} could not be read ({failure.strerror}). Use another checkpoint.") from None
        if found != known:
            raise Error(
                f"{folder / name} is damaged: its checksum is {found}, not {short_repr(known)}. Use another checkpoint."
            )


def as_json(info: CheckpointInfo) -> str:
    """Return the text of `checkpoint.json`; NaN and infinite metrics become null."""
    values = {"format": FORMAT, **dataclasses.asdict(info), "metrics": without_nan(info.metrics)}
    return json.dumps(values, indent=1) + "\n"
