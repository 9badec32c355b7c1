"""Evaluation in the precision of the training, in batches that fit into memory, and the latency of the network."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from shards_tools.build import build
from shards_tools.manifest_file import read_manifest
from shards_tools.sources.lsasrd import scan
from tests.conftest import draw_tree
from trainables.data.reading import Inputs
from trainables.device import Device
from trainables.evaluation.evaluate import BatchSize, evaluate, extract_features, ms_per_image, validation_precision
from trainables.models.model import Features
from trainables.recipes import get_recipe
from trainables.recipes.settings import override
from trainables.recipes.transreid import TransReIDRecipe
from trainables.training.loop import run_epoch
from trainables.training.train_state import TrainState, prepare


@pytest.fixture
def training(shards: Path) -> TrainState:
    recipe = override(get_recipe("transreid-tiny"), {"backbone": "vit_64x3", "image_size": 32, "works_per_batch": 4})
    return prepare(recipe, read_manifest(shards), fold=0, seed=0)


def measure(training: TrainState) -> float:
    return ms_per_image(training.evaluated_model, training.evaluation, training.inputs, training.device)


def test_a_network_that_sleeps_takes_as_long_as_it_sleeps(
    training: TrainState, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def forward(images_BHWC: Tensor, words_BL: Tensor | None) -> Features:
        seen.append(len(images_BHWC))
        time.sleep(0.2)
        return {"branches": torch.zeros(len(images_BHWC), 1, training.model.num_features)}

    monkeypatch.setattr(training.model.backbone, "forward", forward)
    measured = measure(training)
    assert len(set(seen)) == 1
    assert measured == pytest.approx(200 / seen[0], rel=0.25)


def test_it_leaves_mode_and_random_numbers_as_they_were(training: TrainState) -> None:
    training.model.train()
    before = torch.get_rng_state()
    assert measure(training) > 0
    assert training.model.training
    assert torch.equal(torch.get_rng_state(), before)


def test_a_batch_that_does_not_fit_is_halved_until_it_does_and_the_next_ones_start_there() -> None:
    tried = []

    def network(images_BHWC: Tensor, words_BL: Tensor | None) -> Tensor:
        tried.append(len(images_BHWC))
        if len(images_BHWC) > 5:
            raise torch.OutOfMemoryError
        assert words_BL is not None
        return images_BHWC[:, 0, 0, 0] + words_BL[:, 0]

    images_BHWC, words_BL = torch.arange(16).view(16, 1, 1, 1), torch.arange(16).view(16, 1)
    batch_size = BatchSize(16)
    assert torch.equal(batch_size.run(network, images_BHWC, words_BL), 2 * torch.arange(16))
    assert batch_size.run(network, images_BHWC[:6], words_BL[:6]).tolist() == [0, 2, 4, 6, 8, 10]
    assert tried == [16, 8, 4, 4, 4, 4, 4, 2]


def test_an_image_that_does_not_fit_ends_the_evaluation() -> None:
    def network(images_BHWC: Tensor, words_BL: Tensor | None) -> Tensor:
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        BatchSize(4).run(network, torch.zeros(4, 1, 1, 3), None)


def test_the_next_batch_is_read_before_the_host_waits_for_the_current_one(
    training: TrainState, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = []
    backbone, read = training.model.backbone.forward, Inputs.at

    def forward(images_BHWC: Tensor, words_BL: Tensor | None) -> Features:
        events.append(f"launch {len(images_BHWC)}")
        found: Features = backbone(images_BHWC, words_BL)
        return found

    def at(inputs: Inputs, indices: np.ndarray, device: str) -> tuple[Tensor, Tensor | None]:
        events.append(f"read {len(indices)}")
        return read(inputs, indices, device)

    monkeypatch.setattr(training.model.backbone, "forward", forward)
    monkeypatch.setattr(Inputs, "at", at)
    monkeypatch.setattr(Device, "synchronize", lambda device: events.append("wait"))
    extract_features(training.model, training.inputs, np.arange(5), Device("cpu"), batch_size=BatchSize(2))
    assert events == ["read 2", "launch 2", "read 2", "wait", "launch 2", "read 1", "wait", "launch 1", "wait"]


def test_bfloat16_is_for_the_backbone_alone(training: TrainState, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def spy(name: str, module: nn.Module, method: str) -> None:
        original = getattr(module, method)

        def call(*arguments: Any) -> Any:
            seen[name] = torch.is_autocast_enabled("cpu")
            return original(*arguments)

        monkeypatch.setattr(module, method, call)

    spy("backbone", training.model.backbone, "forward")
    spy("head", training.model.head, "embed")
    for precision in ("bf16", "fp32"):
        features_ND = extract_features(
            training.model, training.inputs, np.arange(3), Device("cpu"), precision=precision
        )
        assert features_ND.dtype == torch.float32
        assert seen == {"backbone": precision == "bf16", "head": False}


def test_bfloat16_changes_the_map_of_a_trained_network_by_less_than_a_thousandth(
    small_recipe: Callable[..., TransReIDRecipe], tmp_path: Path
) -> None:
    manifest = build(scan(draw_tree(tmp_path / "tree", num_train=60, num_roles=6, num_images=12)), tmp_path / "shards")
    training = prepare(small_recipe(epochs=3), manifest, fold=0, seed=0)
    for epoch in (1, 2, 3):
        metrics = run_epoch(training, epoch)
    found = evaluate(training.evaluated_model, training.evaluation, training.inputs, Device("cpu"), precision="bf16")
    assert found["num_valid_queries"] == 288
    assert 0.5 < metrics["mAP"] < 0.9
    assert found["mAP"] == pytest.approx(metrics["mAP"], abs=1e-3)
    assert found["mAP"] != metrics["mAP"]


def test_only_the_last_epoch_of_a_bfloat16_training_is_validated_in_float32(
    small_recipe: Callable[..., TransReIDRecipe],
) -> None:
    recipe = small_recipe(epochs=3, precision="bf16")
    assert [validation_precision(recipe, epoch) for epoch in (1, 2, 3)] == ["bf16", "bf16", "fp32"]
    assert validation_precision(small_recipe(epochs=3, precision="fp32"), 1) == "fp32"
