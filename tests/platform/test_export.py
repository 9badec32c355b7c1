"""The command that exports a checkpoint: the files, the JSON, and what it refuses before any work."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from platform import export
from shards_tools.errors import Error
from shards_tools.manifest_file import read_manifest
from trainables.inference.prediction import Predictor


def result(capsys: pytest.CaptureFixture[str], *words: str | Path) -> dict[str, Any]:
    export.main([*map(str, words), "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_onnx_is_compared_on_the_images(
    checkpoint: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    out = tmp_path / "model.onnx"
    found = result(capsys, checkpoint, "--out", out, "--data", shards, "--split", "test")
    assert found.keys() == {"max_abs_difference", "opset", "inputs", "outputs"}
    assert found["max_abs_difference"] <= 1e-4
    assert found["inputs"] == [{"name": "images", "type": "tensor(uint8)", "shape": ["batch", 32, 32, 3]}]
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]  # one file, with the weights in it
    assert stat.S_IMODE(out.stat().st_mode) & stat.S_IRUSR


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_features_are_those_of_the_split_with_their_names(
    suffix: str, split: str, checkpoint: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"features{suffix}"
    found = result(capsys, checkpoint, "--out", out, "--data", shards, "--split", split)
    manifest = read_manifest(shards)
    parts = manifest.split()
    images = sorted(parts.train if split == "train" else {*parts.val_query, *parts.val_gallery})
    if suffix == ".npz":
        with np.load(out) as opened:  # without pickled objects
            table = {name: opened[name] for name in opened.files}
    else:
        frame = pandas.read_parquet(out)
        table = {name: np.stack(frame[name]) if name == "features" else frame[name] for name in frame}
    assert list(table["keys"]) == [manifest.keys[image] for image in images]
    assert list(table["works"]) == [manifest.works[manifest.work[image]] for image in images]
    assert list(table["roles"]) == [manifest.roles[manifest.role[image]] for image in images]
    predictor = Predictor(checkpoint)
    expected = predictor.features(predictor.of_shards(manifest), manifest.num_images)[images]
    np.testing.assert_allclose(table["features"], expected, atol=1e-5)
    assert found == {"num_images": len(images), "feature_dim": expected.shape[1]}


def test_weights_and_torchscript_are_chosen_by_the_suffix(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = result(capsys, checkpoint, "--out", tmp_path / "weights.safetensors")
    assert found["num_tensors"] > 10
    found = result(capsys, checkpoint, "--out", tmp_path / "model.pt")
    assert found["max_abs_difference"] <= 1e-4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "there.onnx"], "--out there.onnx exists. Use a new file"),
        (["--out", "weights.pth"], r"no format has the suffix '.pth'. Use one of .onnx, .*, or add --format"),
        (["--out", "model"], "no format has the suffix ''"),
        (["--out", "no/model.onnx"], "the folder no does not exist or is not writable"),
        (["--out", "features.csv", "--format", "features"], "features are written as .npz or .parquet"),
        (["--out", "features.npz"], "--format features needs images. Add --data SHARDS"),
        (["--out", "w.safetensors", "--data", "shards"], "--format safetensors reads no images"),
        (["--out", "model.onnx", "--format", "onx"], "invalid choice: 'onx'"),
    ],
)
def test_bad_options_are_refused_before_the_checkpoint_is_read(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.onnx").touch()
    with pytest.raises(Error, match=message):
        export.main(["no-checkpoint", *options])


def test_an_error_leaves_no_file(checkpoint: Path, shards: Path, tmp_path: Path) -> None:
    with pytest.raises(Error, match="holds no checkpoint"):
        export.main([str(tmp_path), "--out", str(tmp_path / "weights.safetensors")])
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in checkpoint.iterdir():
        os.symlink(file, damaged / file.name)
    (damaged / "weights.safetensors").unlink()
    with pytest.raises(Error, match=r"weights.safetensors could not be read"):
        export.main([str(damaged), "--out", str(tmp_path / "features.npz"), "--data", str(shards)])
    assert [path.name for path in tmp_path.iterdir()] == ["damaged"]
