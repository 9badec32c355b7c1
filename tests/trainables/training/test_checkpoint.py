"""Checkpoints: what they hold, and that what does not fit is refused by name."""

import json
import math
import zlib

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from shards_tools.conversion import AS_STORED, ON_WHITE
from shards_tools.errors import Error
from trainables.training.checkpoint import load_model
from trainables.training.checkpoint_info import read_info
from trainables.training.loop import train
from trainables.training.resume import load_training
from trainables.training.train_state import prepare


@pytest.fixture
def checkpoint(small_recipe, manifest, tmp_path):
    folder = tmp_path / "checkpoint"
    train(small_recipe(epochs=1), manifest, report=lambda report, save: save(folder), fold=2, seed=5)
    return folder


def change_info(folder, **changes):
    path = folder / "checkpoint.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_weights(folder, change):
    weights = load_file(folder / "weights.safetensors")
    change(weights)
    save_file(weights, folder / "weights.safetensors")
    change_info(folder, checksums={})  # as a checkpoint of 0.1.0


def test_a_checkpoint_says_what_it_is(checkpoint, small_recipe, manifest):
    info = read_info(checkpoint)
    assert info.recipe == small_recipe(epochs=1)
    assert (info.fold, info.seed, info.epoch, info.num_threads) == (2, 5, 1, 1)
    assert info.fingerprint == manifest.fingerprint
    assert info.conversion == manifest.conversion == ON_WHITE
    trained = np.unique(manifest.work[manifest.split(2).train])
    assert info.works == tuple(manifest.works[work] for work in trained)
    assert info.metrics["epoch"] == 1
    assert info.versions["torch"] == torch.__version__


def test_a_checkpoint_of_an_earlier_version_reads_pictures_as_it_did(checkpoint):
    info = json.loads((checkpoint / "checkpoint.json").read_text())
    del info["conversion"]
    (checkpoint / "checkpoint.json").write_text(json.dumps(info))
    assert read_info(checkpoint).conversion == AS_STORED


def test_its_model_is_the_one_that_was_saved(checkpoint):
    model, _ = load_model(checkpoint)
    weights = load_file(checkpoint / "weights.safetensors")
    assert not model.training
    assert weights.keys() == model.state_dict().keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())


def test_a_model_is_loaded_without_fetching_pretrained_weights(checkpoint):
    recipe = json.loads((checkpoint / "checkpoint.json").read_text())["recipe"]
    # no such file is read: the recipe only says where the training started
    change_info(checkpoint, recipe={**recipe, "backbone": "vit_base_patch16_224", "image_size": 32, "pretrained": True})
    with pytest.raises(Error, match="does not fit the recipe's model"):
        load_model(checkpoint)


def test_nan_metrics_survive(checkpoint):
    text = (checkpoint / "checkpoint.json").read_text()
    assert "NaN" not in text
    change_info(checkpoint, metrics={"mAP": None, "loss": 1.0})
    metrics = read_info(checkpoint).metrics
    assert math.isnan(metrics["mAP"])
    assert metrics["loss"] == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("backbone.cls_token"), "cls_token is missing"),
        (lambda weights: weights.update(extra=torch.zeros(1)), "extra is unexpected"),
        (
            lambda weights: weights.update({"backbone.cls_token": torch.zeros(1, 1, 3)}),
            r"cls_token is \(1, 1, 3\), not \(1, 1, 64\)",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(checkpoint, change, message):
    change_weights(checkpoint, change)
    with pytest.raises(Error, match=message):
        load_model(checkpoint)


def test_a_folder_without_a_checkpoint_and_one_of_another_format_are_refused(checkpoint, tmp_path):
    with pytest.raises(Error, match="holds no checkpoint"):
        load_model(tmp_path)
    with pytest.raises(Error, match=f"Did you mean {checkpoint}"):
        load_model(checkpoint.parent)
    change_info(checkpoint, format=99)
    with pytest.raises(Error, match="has format 99, not 3"):
        load_model(checkpoint)


def test_a_field_that_is_missing_is_named(checkpoint):
    path = checkpoint / "checkpoint.json"
    values = json.loads(path.read_text())
    del values["works"]
    path.write_text(json.dumps(values))
    with pytest.raises(Error, match=r"checkpoint\.json is damaged: it lacks 'works'"):
        read_info(checkpoint)


def test_a_training_state_with_the_names_of_an_earlier_version_is_restored(small_recipe, manifest, tmp_path):
    recipe = small_recipe(epochs=1, center_weight=0.1)
    train(recipe, manifest, report=lambda report, save: save(tmp_path), fold=2, seed=5)
    state = torch.load(tmp_path / "state.pt")
    centers = state["losses"].pop("center.centers")
    former = {"optimiser": state["optimizer"], "losses": {**state["losses"], "centre.centres": centers}}
    torch.save(former, tmp_path / "state.pt")
    change_info(tmp_path, checksums={})  # as a checkpoint of 0.1.0
    training = prepare(recipe, manifest, fold=2, seed=5)
    load_training(training, tmp_path)
    assert torch.equal(training.criterion.state_dict()["center.centers"], centers)
    assert training.optimizer.state_dict()["state"].keys() == state["optimizer"]["state"].keys()


def test_damaged_files_are_named(checkpoint, small_recipe, manifest):
    change_info(checkpoint, checksums={})  # as a checkpoint of 0.1.0
    training = prepare(small_recipe(), manifest, fold=2, seed=5)
    (checkpoint / "state.pt").write_bytes((checkpoint / "state.pt").read_bytes()[:50])
    with pytest.raises(Error, match=r"state\.pt holds no training state"):
        load_training(training, checkpoint)
    (checkpoint / "weights.safetensors").write_bytes((checkpoint / "weights.safetensors").read_bytes()[:50])
    with pytest.raises(Error, match=r"weights\.safetensors could not be read"):
        load_model(checkpoint)
    (checkpoint / "checkpoint.json").write_text("{")
    with pytest.raises(Error, match=r"checkpoint\.json is not valid JSON"):
        read_info(checkpoint)


def test_a_state_file_that_could_run_code_is_not_run(checkpoint, small_recipe, manifest, tmp_path):
    ran = tmp_path / "ran"

    class Malice:
        def __reduce__(self):
            return (ran.touch, ())

    torch.save({"state": Malice()}, checkpoint / "state.pt")
    change_info(checkpoint, checksums={})  # an attacker would write the right ones
    with pytest.raises(Error, match=r"state\.pt holds no training state"):
        load_training(prepare(small_recipe(), manifest, fold=2, seed=5), checkpoint)
    assert not ran.exists()


@pytest.mark.parametrize("name", ["weights.safetensors", "state.pt"])
def test_a_training_does_not_resume_from_a_file_with_another_checksum(name, checkpoint, small_recipe, manifest):
    training = prepare(small_recipe(epochs=1), manifest, fold=2, seed=5, fresh=False)
    load_training(training, checkpoint)
    damaged = bytearray((checkpoint / name).read_bytes())
    damaged[-1] ^= 1
    (checkpoint / name).write_bytes(damaged)
    with pytest.raises(Error, match=rf"{name} is damaged: its checksum is crc32:"):
        load_training(training, checkpoint)


def test_a_checksum_is_that_of_the_standard(checkpoint):
    for name, checksum in read_info(checkpoint).checksums.items():
        assert checksum == f"crc32:{zlib.crc32((checkpoint / name).read_bytes()):08x}"


def test_a_checkpoint_without_checksums_as_0_1_0_wrote_it_is_read(checkpoint):
    values = json.loads((checkpoint / "checkpoint.json").read_text())
    assert set(values.pop("checksums")) == {"weights.safetensors", "state.pt"}
    (checkpoint / "checkpoint.json").write_text(json.dumps(values))
    load_model(checkpoint)
