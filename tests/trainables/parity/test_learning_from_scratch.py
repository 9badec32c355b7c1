"""DAF:re's ResNet-18 learns from scratch at the paper's learning rate: its batch norms start at a scale of 1."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from shards_tools.build import build
from shards_tools.sources import SOURCES
from trainables.models import dafre
from trainables.recipes import get_recipe
from trainables.recipes.settings import override
from trainables.training.loop import train

REAL_DATA = os.environ.get("SAKUGA_REAL_DATA")
SEEDS = (0, 1, 2)
# the recipe's 128 px and its 32 px of enlargement, both divided by 4
SETTINGS = {"image_size": 32, "enlarge_px": 8, "epochs": 5}


@pytest.fixture(scope="module")
def styles(tmp_path_factory):
    """Shards of the avatars with their 14 drawing styles as classes."""
    folder = tmp_path_factory.mktemp("styles")
    for picture in (Path(REAL_DATA) / "avatars" / "ASRD").rglob("*.jpg"):
        style = folder / picture.parent.parent.name
        style.mkdir(exist_ok=True)
        shutil.copy(picture, style)
    return build(SOURCES["folder"](folder), tmp_path_factory.mktemp("shards") / "styles")


def top1_after_training(manifest, seed):
    top1 = []
    recipe = override(get_recipe("dafre-128-r18"), SETTINGS)
    train(recipe, manifest, seed=seed, report=lambda report, save: top1.append(report.metrics["top1"]))
    return top1[-1]


@pytest.mark.slow
@pytest.mark.skipif(REAL_DATA is None, reason="SAKUGA_REAL_DATA does not name the real pictures")
def test_resnet_18_learns_from_scratch_and_would_not_with_the_last_norms_of_its_blocks_at_zero(styles, monkeypatch):
    ones = [top1_after_training(styles, seed) for seed in SEEDS]
    plain = dafre.build_conv

    def zeroed(*arguments, **settings):
        network = plain(*arguments, **settings)
        for name, module in network.named_modules():
            if name.endswith("bn2"):
                nn.init.zeros_(module.weight)
        return network

    monkeypatch.setattr(dafre, "build_conv", zeroed)
    zeros = [top1_after_training(styles, seed) for seed in SEEDS]
    print(f"\ntop-1 after 5 epochs, seeds 0 to 2: scales of 1: {ones}; of 0: {zeros}")
    assert np.mean(ones) >= 0.60
    assert np.mean(zeros) < 0.5 * np.mean(ones)
