"""How long a network takes for an image is measured on the network alone, and leaves no trace in the training."""

import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from shards_tools.manifest_file import read_manifest
from trainables.evaluation.evaluate import ms_per_image
from trainables.recipes import get_recipe
from trainables.recipes.settings import override
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

    def embed(images_BHWC: Tensor, words_BL: Tensor | None) -> Tensor:
        seen.append(len(images_BHWC))
        time.sleep(0.2)
        return images_BHWC

    monkeypatch.setattr(training.model, "embed", embed)
    measured = measure(training)
    assert len(set(seen)) == 1
    assert measured == pytest.approx(200 / seen[0], rel=0.25)


def test_it_leaves_mode_and_random_numbers_as_they_were(training: TrainState) -> None:
    training.model.train()
    before = torch.get_rng_state()
    assert measure(training) > 0
    assert training.model.training
    assert torch.equal(torch.get_rng_state(), before)
