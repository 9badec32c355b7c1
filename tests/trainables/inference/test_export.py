"""Exported networks against torch, on images as an evaluation reads them, and weights that a recipe reads back."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from shards_tools.errors import Error
from tests.trainables.conftest import draw_stripes
from trainables.data.text import least_num_words
from trainables.device import Device
from trainables.inference import export
from trainables.inference.export import export_onnx, export_torchscript, export_weights
from trainables.inference.prediction import Predictor
from trainables.models import build_model
from trainables.recipes import get_recipe
from trainables.recipes.settings import override
from trainables.training.checkpoint_info import INFO_NAME, WEIGHTS_NAME, CheckpointInfo, as_json

WORKS = ("asuka", "miku", "rem")
FAST = ("transreid-vit-jpm-tiny", "agw-resnet50-nl-tiny", "animesion-b16-vilt-tiny")
OTHERS = (
    "transreid-tiny",
    "dafre-128-b16-tiny",
    "dafre-128-r18-tiny",
    "dafre-224-sn-tiny",
    "daf-128-r18-arcface-tiny",
    "icartoonface-tiny",
    "animesion-tiny",
    "open-tiny",
)

pytestmark = pytest.mark.integration


def write_checkpoint(name: str, folder: Path, **settings: object) -> Path:
    """Write a checkpoint of a recipe whose weights are all random: fresh classifiers may be 0, which hides errors."""
    recipe = override(get_recipe(name), settings)
    vocabulary = tuple(f"tag{number}" for number in range(2 * least_num_words(recipe)))
    draw = torch.Generator().manual_seed(0)
    model = build_model(dataclasses.replace(recipe, pretrained=False), len(WORKS), len(vocabulary))
    weights = model.state_dict()
    for key, value in weights.items():
        if value.is_floating_point():
            noise = 0.05 * torch.randn(value.shape, generator=draw)
            weights[key] = value + (noise.abs() if key.endswith("running_var") else noise)
    folder.mkdir()
    save_file(weights, folder / WEIGHTS_NAME)
    info = CheckpointInfo(
        recipe=recipe,
        fingerprint="",
        fold=0,
        seed=0,
        epoch=recipe.epochs,
        metrics={},
        works=WORKS,
        vocabulary=vocabulary,
        num_threads=1,
        reading="auto",
        versions={},
    )
    (folder / INFO_NAME).write_text(as_json(info))
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Six files: real images of six works, or drawn ones if there are none."""
    root = os.environ.get("SAKUGA_REAL_DATA")
    if root is not None:
        works = sorted((Path(root) / "avatars" / "ASRD" / "test").iterdir())[:6]
        return [min(work.rglob("*.jpg")) for work in works]
    files = [tmp_path / f"{number}.png" for number in range(6)]
    for number, file in enumerate(files):
        draw_stripes(number, 1, 0).save(file)
    return files


@pytest.mark.parametrize("name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_onnxruntime_gives_the_features_and_probabilities_of_torch(
    name: str, pictures: list[Path], tmp_path: Path
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    checkpoint = write_checkpoint(name, tmp_path / "checkpoint")
    found = export_onnx(checkpoint, tmp_path / "model.onnx", None)
    assert found["max_abs_difference"] <= 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    names = [entry["name"] for entry in found["inputs"]]
    assert names == (["images", "words"] if "vilt" in name else ["images"])
    assert [entry["name"] for entry in found["outputs"]] == ["features", "probabilities"]
    assert session.get_inputs()[0].shape[0] == "batch"
    predictor = Predictor(checkpoint)
    inputs = predictor.of_files(pictures)
    for size in (1, 6):
        read = [part.numpy() for part in inputs.at(np.arange(size), Device("cpu")) if part is not None]
        features, probabilities = session.run(["features", "probabilities"], dict(zip(names, read, strict=True)))
        np.testing.assert_allclose(features, predictor.features(inputs, size), rtol=0, atol=1e-4)
        np.testing.assert_allclose(probabilities, predictor.predict(inputs, size)[1], rtol=0, atol=1e-4)
    assert np.ptp(features, axis=0).max() > 1e-3  # the pictures have different features
    described = session.get_modelmeta().custom_metadata_map
    assert json.loads(described["classes"]) == list(WORKS)
    assert described["images"].startswith("uint8 RGB, batch x ")
    assert ("vocabulary" in described) == ("vilt" in name)


@pytest.mark.parametrize("name", FAST)
def test_torchscript_gives_the_features_and_probabilities_of_torch(
    name: str, pictures: list[Path], tmp_path: Path
) -> None:
    checkpoint = write_checkpoint(name, tmp_path / "checkpoint")
    found = export_torchscript(checkpoint, tmp_path / "model.pt", None)
    assert found["max_abs_difference"] <= 1e-4
    with pytest.warns(FutureWarning, match="torch.jit.load"):
        loaded = torch.jit.load(tmp_path / "model.pt")
    predictor = Predictor(checkpoint)
    inputs = predictor.of_files(pictures)
    for size in (1, 6):
        read = [part for part in inputs.at(np.arange(size), Device("cpu")) if part is not None]
        features, probabilities = loaded(*read)
        np.testing.assert_allclose(features.detach(), predictor.features(inputs, size), rtol=0, atol=1e-4)
        np.testing.assert_allclose(probabilities.detach(), predictor.predict(inputs, size)[1], rtol=0, atol=1e-4)


def test_a_network_that_differs_from_torch_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "LARGEST_DIFFERENCE", -1.0)
    checkpoint = write_checkpoint("dafre-224-sn-tiny", tmp_path / "checkpoint")
    with pytest.raises(Error, match="differs from torch by 0, more than -1"):
        export_torchscript(checkpoint, tmp_path / "model.pt", None)


@pytest.mark.parametrize(
    "name", ["transreid-vit-jpm-tiny", "agw-resnet50-nl-tiny", "dafre-128-b16-tiny", "icartoonface-tiny", "open-tiny"]
)
def test_weights_file_reads_the_exported_weights(name: str, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(name, tmp_path / "checkpoint")
    found = export_weights(checkpoint, tmp_path / "model.safetensors")
    recipe = dataclasses.replace(get_recipe(name), pretrained=True, weights_file=str(tmp_path / "model.safetensors"))
    read = build_model(recipe, 5).state_dict()
    expected = Predictor(checkpoint)._model.state_dict()
    own = {key for key in found["left_out"] if key.startswith("backbone.")}
    same = [key for key in expected if key.startswith("backbone.") and key not in own and "pos_embed" not in key]
    assert len(same) >= 0.7 * found["num_tensors"]
    for key in same:
        torch.testing.assert_close(read[key], expected[key], rtol=0, atol=0, msg=key)
    assert found["num_tensors"] + len(found["left_out"]) == len(expected)


def test_a_backbone_that_is_not_timms_has_no_weights_file(tmp_path: Path) -> None:
    checkpoint = write_checkpoint("dafre-224-sn-tiny", tmp_path / "checkpoint")
    with pytest.raises(Error, match="is not one of timm's, and weights_file= does not read it"):
        export_weights(checkpoint, tmp_path / "model.safetensors")


def test_missing_packages_are_named_with_the_command_that_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "ONNX_PACKAGES", ("onnx_of_nobody", "numpy"))
    with pytest.raises(Error, match=r"needs onnx_of_nobody, not installed here\. Run: pip install 'sakuga\[export\]'"):
        export.require_onnx()
