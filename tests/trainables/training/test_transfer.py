"""A checkpoint as the start of a training on other data."""

import logging
from dataclasses import replace

import pytest
import torch

from shards_tools.errors import Error
from tests.trainables.reports import Reports
from trainables.device import Device
from trainables.models import build_model
from trainables.training.checkpoint import load_model
from trainables.training.loop import train
from trainables.training.train_state import prepare
from trainables.training.transfer import start_from_checkpoint


@pytest.fixture
def checkpoint(small_recipe, manifest, tmp_path):
    folder = tmp_path / "checkpoint"
    others = replace(manifest, fingerprint="0" * 64)  # as if of other data: it may start a training on any fold
    train(small_recipe(epochs=1), others, report=lambda report, save: save(folder), fold=0)
    return folder


def test_all_but_the_classifier_is_taken_and_of_that_the_works_of_the_same_name(
    checkpoint, small_recipe, manifest, caplog
):
    source, info = load_model(checkpoint)
    recipe = small_recipe(pretrained=True, weights_file=str(checkpoint))
    with caplog.at_level(logging.INFO, logger="trainables.training.transfer"):
        training = prepare(
            recipe, manifest, fold=1, seed=3, device=Device("cpu")
        )  # fold 1 has six works of fold 0's eight
    logged = [record.getMessage() for record in caplog.records if record.name == "trainables.training.transfer"]
    assert logged == [f"6 of 8 classes are in the checkpoint {checkpoint}"]
    found, expected = training.model.state_dict(), source.state_dict()
    for name, value in expected.items():
        if name != "head.classifiers.0.weight":
            assert torch.equal(found[name], value), name
    names = [manifest.works[work] for work in training.works]
    rows = found["head.classifiers.0.weight"]
    fresh = [row for row, name in enumerate(names) if name not in info.works]
    for row, name in enumerate(names):
        if name in info.works:
            assert torch.equal(rows[row], expected["head.classifiers.0.weight"][info.works.index(name)])
    assert len(fresh) == 2
    assert rows[fresh].std().item() == pytest.approx(0.001, rel=0.3)


def test_other_positions_and_another_number_of_classes_stay_fresh_and_are_said(checkpoint, small_recipe):
    model = build_model(small_recipe(stride_px=4), 20)
    before = model.backbone.pos_embed.detach().clone()
    report = start_from_checkpoint(model, checkpoint, [f"other {number}" for number in range(20)])
    assert torch.equal(model.backbone.pos_embed, before)
    assert report.left_out == ("backbone.pos_embed (1, 10, 64), not (1, 26, 64)",)
    assert report.fresh == ("backbone.pos_embed",)
    assert "; ignored: backbone.pos_embed" in str(report)


def test_a_checkpoint_of_another_network_is_refused(checkpoint, small_recipe, manifest):
    recipe = small_recipe(backbone="vit_96x2", pretrained=True, weights_file=str(checkpoint))
    with pytest.raises(Error, match=f"{checkpoint} does not fit this network"):
        prepare(recipe, manifest, fold=0, seed=0)


def test_a_training_goes_on_from_its_own_checkpoint_without_the_first_one(checkpoint, small_recipe, manifest, tmp_path):
    recipe = small_recipe(epochs=2, pretrained=True, weights_file=str(checkpoint))
    whole, again = Reports(tmp_path / "whole"), Reports(tmp_path / "again")
    train(recipe, manifest, report=whole)
    checkpoint.rename(tmp_path / "elsewhere")
    train(recipe, manifest, report=again, resume=whole.folder / "1")
    assert again.lasting() == whole.lasting()
    assert load_model(again.folder / "2")[1].recipe == recipe
