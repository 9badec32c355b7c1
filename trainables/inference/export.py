"""Export a checkpoint's network to ONNX or TorchScript, compared with torch, or its weights to safetensors.

An exported network takes what an evaluation takes: uint8 RGB images of the recipe's size, and words if it reads tags.
It normalizes them itself. It returns the test feature and the probability of each trained class.

B batch, H height, W width, C channels, L text length, D feature dimension, N works.
"""

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from trainables.data.reading import evaluation_inputs
from trainables.device import Device
from trainables.inference.feature_table import images_of_split
from trainables.inference.prediction import probabilities_of
from trainables.models.model import Model
from trainables.models.timm_names import weights_by_timm_name
from trainables.models.weight_files import GRID
from trainables.recipes.animesion import AnimesionRecipe
from trainables.training.checkpoint import load_model
from trainables.training.checkpoint_info import CheckpointInfo

BATCH_SIZES = (1, 3)  # that are compared with torch
LARGEST_DIFFERENCE = 1e-4
INPUTS = ("images", "words")  # words only if the network reads tags
OUTPUTS = ("features", "probabilities")
ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
EXTRA = "sakuga[export]"

Arrays = list[np.ndarray]
Images = tuple[Manifest, str]  # the data and the split


class ExportedNetwork(nn.Module):
    """A checkpoint's network as one function of images and words."""

    def __init__(self, model: Model, info: CheckpointInfo) -> None:
        super().__init__()
        self.model, self.recipe = model, info.recipe

    def forward(self, images_BHWC: Tensor, words_BL: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the test features as unit vectors, B x D, and the probabilities of the trained works, B x N."""
        features_BD, logits_BN = self.model.embed_and_classify(images_BHWC, words_BL)
        return features_BD, probabilities_of(logits_BN, self.recipe)


def require_onnx() -> None:
    """Refuse an export to ONNX if a package that it needs is not installed.

    Raises:
        Error: a package is missing.
    """
    missing = [name for name in ONNX_PACKAGES if find_spec(name) is None]
    if missing:
        raise Error(f"--format onnx needs {', '.join(missing)}, not installed here. Run: pip install '{EXTRA}'.")


def export_onnx(checkpoint: Path, file: Path, images: Images | None) -> dict[str, Any]:
    """Write the network to an ONNX file that takes batches of any size, and compare it with torch in onnxruntime.

    Args:
        checkpoint: its local folder.
        file: a new file.
        images: the data and the split whose images are compared; None: random pixels.

    Returns:
        `max_abs_difference` between onnxruntime and torch over both outputs and batch sizes, `opset`, and `inputs` and
        `outputs` with `name`, `type` and `shape`.

    Raises:
        Error: the checkpoint or the images cannot be read, or the difference is above LARGEST_DIFFERENCE.
    """
    import onnxruntime

    network, info = _network(checkpoint)
    names, batches = _batches(info, images)
    with _quiet():
        program = torch.onnx.export(
            network,
            tuple(map(torch.from_numpy, batches[-1])),
            input_names=names,
            output_names=OUTPUTS,
            dynamic_shapes=tuple({0: torch.export.Dim("batch")} for _ in names),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props.update(describe(info))
    program.save(file, external_data=False)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    difference = _difference(
        network, batches, lambda arrays: session.run(OUTPUTS, dict(zip(names, arrays, strict=True)))
    )
    sides = {"inputs": session.get_inputs(), "outputs": session.get_outputs()}
    described = {
        side: [{"name": node.name, "type": node.type, "shape": node.shape} for node in nodes]
        for side, nodes in sides.items()
    }
    return {"max_abs_difference": difference, "opset": program.model.opset_imports[""], **described}


def export_torchscript(checkpoint: Path, file: Path, images: Images | None) -> dict[str, Any]:
    """Write the network as TorchScript, which `torch.jit.load` reads without this project, and compare it with torch.

    Args:
        checkpoint: its local folder.
        file: a new file.
        images: the data and the split whose images are compared; None: random pixels.

    Returns:
        `max_abs_difference` over both outputs and batch sizes, and the names of `inputs` and `outputs`.

    Raises:
        Error: the checkpoint or the images cannot be read, or the difference is above LARGEST_DIFFERENCE.
    """
    network, info = _network(checkpoint)
    names, batches = _batches(info, images)
    with _quiet(), torch.no_grad():
        example = tuple(map(torch.from_numpy, batches[-1]))
        torch.jit.save(torch.jit.trace(network, example, check_trace=False), file)  # type: ignore[no-untyped-call]
        loaded = torch.jit.load(file)  # type: ignore[no-untyped-call]
        difference = _difference(network, batches, lambda arrays: _run(loaded, arrays))
    return {"max_abs_difference": difference, "inputs": list(names), "outputs": list(OUTPUTS)}


def export_weights(checkpoint: Path, file: Path) -> dict[str, Any]:
    """Write the backbone's weights under timm's names, as `weights_file=` of a recipe reads them.

    Args:
        checkpoint: its local folder.
        file: a new file.

    Returns:
        `num_tensors`, and `left_out`: the names of weights that timm's network does not have, such as the classifier's.

    Raises:
        Error: the checkpoint cannot be read, or its backbone is not one of timm's.
    """
    model, info = load_model(checkpoint)
    weights, left_out = weights_by_timm_name(model, info.recipe)
    described = describe(info)
    if grid := model.patch_grid:
        described[GRID] = f"{grid[0]}x{grid[1]}"
    file.write_bytes(save({name: value.contiguous() for name, value in weights.items()}, metadata=described))
    return {"num_tensors": len(weights), "left_out": left_out}


def describe(info: CheckpointInfo) -> dict[str, str]:
    """Return what a user of an exported file must know, as text by name; lists are JSON."""
    recipe, (height, width) = info.recipe, info.recipe.size
    resized = f"center crop after the short side is {recipe.evaluation_px}" if recipe.evaluation_px else "stretched"
    described = {
        "recipe": recipe.name,
        "backbone": recipe.backbone,
        "epoch": str(info.epoch),
        "images": f"uint8 RGB, batch x {height} x {width} x 3, {resized}, bilinear; the network normalizes them",
        "pixel_mean": json.dumps(recipe.pixel_mean),
        "pixel_std": json.dumps(recipe.pixel_std),
        "classes": json.dumps(info.works, ensure_ascii=False),
    }
    if isinstance(recipe, AnimesionRecipe) and info.vocabulary:
        described["words"] = f"int64, batch x {recipe.text_tokens}: positions in the vocabulary"
        described["vocabulary"] = json.dumps(info.vocabulary, ensure_ascii=False)
    return described


def _network(checkpoint: Path) -> tuple[ExportedNetwork, CheckpointInfo]:
    model, info = load_model(checkpoint)
    return ExportedNetwork(model, info).eval(), info


def _batches(info: CheckpointInfo, images: Images | None) -> tuple[tuple[str, ...], list[Arrays]]:
    """Return the names of the inputs, and a batch of each size.

    The inputs are images of the split or random pixels, and their words if the network reads tags.
    """
    recipe, most = info.recipe, max(BATCH_SIZES)
    if images is None:
        draw = np.random.default_rng(0)
        arrays = [draw.integers(0, 256, (most, *recipe.size, 3), np.uint8)]
        if isinstance(recipe, AnimesionRecipe) and info.vocabulary:
            arrays.append(draw.integers(0, len(info.vocabulary), (most, recipe.text_tokens), np.int64))
    else:
        manifest, split = images
        images_N = np.resize(images_of_split(manifest, split, info.fold), most)
        inputs = evaluation_inputs(recipe, manifest, info.vocabulary, "auto", threads=info.num_threads)
        arrays = [part.numpy() for part in inputs.at(images_N, Device("cpu")) if part is not None]
    return INPUTS[: len(arrays)], [[array[:size] for array in arrays] for size in BATCH_SIZES]


def _difference(network: ExportedNetwork, batches: Sequence[Arrays], run: Callable[[Arrays], Sequence[Any]]) -> float:
    """Return the largest absolute difference between an exported network and torch.

    Args:
        run: the exported network.

    Raises:
        Error: it is above LARGEST_DIFFERENCE.
    """
    pairs = [pair for arrays in batches for pair in zip(run(arrays), _run(network, arrays), strict=True)]
    difference = max(float(np.abs(np.asarray(found) - expected).max()) for found, expected in pairs)
    if not difference <= LARGEST_DIFFERENCE:
        raise Error(
            f"The exported network differs from torch by {difference:.2g}, more than {LARGEST_DIFFERENCE:g}."
            " Nothing was written. Use another --format."
        )
    return difference


def _run(network: Callable[..., tuple[Tensor, Tensor]], arrays: Arrays) -> Arrays:
    with torch.no_grad():
        return [output.numpy() for output in network(*map(torch.from_numpy, arrays))]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporters' warnings and log, which are about their own code."""
    names = ("onnxscript", "onnx_ir", "torch.onnx")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
