"""The training loop: it learns, it reports, and a resumed training is the uninterrupted one."""

import dataclasses
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shards_tools.errors import Error
from tests.trainables.reports import Reports, assert_equal, state_of
from trainables.device import Device
from trainables.evaluation.evaluate import BatchSize, evaluate, extract_features
from trainables.evaluation.evaluation import Evaluation
from trainables.metrics.cross_role import cross_role_metrics
from trainables.recipes import RECIPES, get_recipe
from trainables.recipes.settings import override
from trainables.training.checkpoint import load_model
from trainables.training.checkpoint_info import read_info
from trainables.training.loop import train, train_one_epoch
from trainables.training.loss_reader import NonFiniteLoss
from trainables.training.train_state import prepare

SIZES = {"image_size": 24, "images_per_epoch": None, "epochs": 3, "warmup_epochs": 2}
PK = {"works_per_batch": 4, "images_per_work": 4}
# a training of each family, with what it has to remember
FAMILIES: dict[str, dict[str, Any]] = {
    "transreid-tiny": {
        **PK, "backbone": "vit_64x3", "jpm": True, "stride_px": 6, "drop_path": 0.3, "erase_probability": 0.5,
        "micro_batch": 5,
    },
    "agw-resnet50-nl-upstream-tiny": {**PK, "ema_decay": 0.9, "clip_norm": 1.0},  # Adam, centers, erasing by numpy
    "dafre-224-sn-tiny": {"batch_size": 16, "enlarge_px": 2},  # dropout in the first epoch alone, jitter
    "icartoonface-resnet50-tiny": {"batch_size": 16, "evaluation_px": 28},
    "animesion-l16-ifa-tiny": {"batch_size": 16, "enlarge_px": 2, "warmup_steps": 7, "warmup_epochs": 0},
    "open-tiny": {**PK, "image_size": 32, "pad_px": 1, "layer_lr_decay": 0.7, "drop_path": 0.2},
}  # fmt: skip


@pytest.fixture(params=FAMILIES)
def family_recipe(request):
    """A small recipe of each family."""
    return override(get_recipe(request.param), {**SIZES, **FAMILIES[request.param]})


def test_every_family_is_resumed():
    assert {get_recipe(name).system for name in FAMILIES} == {recipe.system for recipe in RECIPES.values()}


def test_a_training_resumed_from_any_epoch_equals_the_uninterrupted_one_bit_for_bit(family_recipe, manifest, tmp_path):
    recipe = family_recipe
    whole = Reports(tmp_path / "whole")
    train(recipe, manifest, report=whole, fold=1, seed=7)
    assert [entry["epoch"] for entry in whole.metrics] == [1, 2, 3]
    for epoch in (1, 2, 3):
        resumed = Reports(tmp_path / f"from-{epoch}")
        train(recipe, manifest, report=resumed, fold=1, seed=7, resume=whole.folder / str(epoch))
        assert resumed.lasting() == whole.lasting()[epoch - 1 :]
        assert_equal(state_of(resumed.folder / "3"), state_of(whole.folder / "3"))


@pytest.mark.parametrize("reading", ["decoded", "offset"])
def test_a_training_resumed_within_any_epoch_equals_the_uninterrupted_one_bit_for_bit(
    family_recipe, manifest, tmp_path, monkeypatch, reading
):
    recipe = dataclasses.replace(family_recipe, epochs=2)
    whole = Reports(tmp_path / "whole")
    train(recipe, manifest, report=whole)
    monkeypatch.setattr("trainables.training.loop.PARTIAL_CHECKPOINT_SECONDS", 0.0)
    partials: list[Path] = []

    def keep(save):
        partials.append(tmp_path / f"partial-{len(partials)}")
        save(partials[-1])
        torch.rand(3), np.random.rand(), random.random()  # who listens may draw

    interrupted = Reports(tmp_path / "interrupted")
    train(recipe, manifest, report=interrupted, save_partial=keep, reading=reading)
    assert interrupted.lasting() == whole.lasting()
    assert len(partials) >= 6
    for partial in (partials[0], partials[len(partials) // 2 - 1], partials[-2]):
        epoch = read_info(partial).epoch
        assert read_info(partial).reading == reading
        resumed = Reports(tmp_path / f"from-{partial.name}")
        train(recipe, manifest, report=resumed, resume=partial)
        assert resumed.lasting() == whole.lasting()[max(epoch - 1, 0) :]
        assert_equal(state_of(resumed.folder / "2"), state_of(whole.folder / "2"))
        if epoch:  # at its start it writes the checkpoint that it resumed from, so that it can be resumed again
            again = Reports(tmp_path / f"again-{partial.name}")
            train(recipe, manifest, report=again, resume=resumed.folder / str(epoch))
            assert_equal(state_of(again.folder / "2"), state_of(whole.folder / "2"))


def test_partial_checkpoints_come_no_more_often_than_their_interval(small_recipe, manifest, tmp_path):
    saves = []
    train(small_recipe(epochs=1), manifest, report=Reports(tmp_path), save_partial=saves.append)
    assert saves == []


@pytest.mark.parametrize(("asked", "found"), [("stream", "decoded"), ("offset", "stream")])
def test_a_stream_is_not_gone_on_with_by_another_reading(small_recipe, manifest, tmp_path, asked, found):
    reports = Reports(tmp_path)
    train(small_recipe(epochs=1), manifest, report=reports)
    path = tmp_path / "1" / "checkpoint.json"
    path.write_text(path.read_text().replace('"reading": "decoded"', f'"reading": "{found}"'))
    with pytest.raises(Error, match=f"was trained with reading {found}, not {asked}"):
        train(small_recipe(epochs=1), manifest, report=reports, resume=tmp_path / "1", reading=asked)


@pytest.mark.parametrize("changes", [{"enlarge_px": 4}, {"crop_area": (0.3, 1.0), "pad_px": 0}])
def test_images_of_other_sizes_are_evaluated_at_the_recipes_size(small_recipe, mixed_sizes, tmp_path, changes):
    recipe = small_recipe(epochs=1, works_per_batch=2, images_per_work=2, **changes)
    reports = Reports(tmp_path)
    train(recipe, mixed_sizes, report=reports)
    assert np.isfinite(reports.metrics[0]["loss"])
    training = prepare(recipe, mixed_sizes, fold=0, seed=0, device=Device("cpu"))
    assert training.inputs.images[np.array([0])].shape == (1, 24, 24, 3)


def test_a_resumed_training_first_reports_the_checkpoints_own_metrics_and_writes_it_again(
    small_recipe, manifest, tmp_path
):
    first, again = Reports(tmp_path / "first"), Reports(tmp_path / "again")
    recipe = small_recipe(epochs=1)
    train(recipe, manifest, report=first)
    train(recipe, manifest, report=again, resume=first.folder / "1")
    assert again.metrics == first.metrics  # the time and the speed too
    assert_equal(state_of(again.folder / "1"), state_of(first.folder / "1"))


def test_a_seed_and_a_fold_decide_the_training(small_recipe, manifest, tmp_path):
    recipe = small_recipe(epochs=1)
    runs = []
    for number, settings in enumerate(({"seed": 0}, {"seed": 0}, {"seed": 1}, {"fold": 1})):
        reports = Reports(tmp_path / str(number))
        train(recipe, manifest, report=reports, **settings)
        runs.append(reports.lasting()[0]["loss"])
    assert runs[0] == runs[1]
    assert len(set(runs)) == 3


def test_a_report_holds_what_the_search_reads(small_recipe, manifest, tmp_path):
    reports = Reports(tmp_path)
    train(small_recipe(epochs=1), manifest, report=reports)
    (metrics,) = reports.metrics
    names = {"epoch", "mAP", "mINP", "cmc_1", "cmc_5", "cmc_10", "cmc_20", "num_valid_queries", "loss", "id_loss"}
    assert set(metrics) >= names | {"metric_loss", "lr", "seconds", "images_per_second", "rss_mb", "time"}
    assert all(isinstance(value, int | float) and math.isfinite(value) for value in metrics.values())
    assert metrics["num_valid_queries"] == 2 * 2 * 4  # fold 0: 2 works, 2 of 5 roles each, 4 images


def test_the_loop_learns_a_few_works_by_heart(small_recipe, manifest):
    recipe = small_recipe(epochs=30, lr=1e-3, warmup_epochs=0, schedule="multistep", flip_probability=0.0, pad_px=0)
    training = prepare(recipe, manifest, fold=0, seed=0, device=Device("cpu"))
    four = training.data.labels < 4
    of_four = {name: getattr(training.data, name)[four] for name in ("indices", "labels", "roles")}
    training.data = dataclasses.replace(training.data, **of_four)
    for epoch in range(1, recipe.epochs + 1):
        losses, num_images = train_one_epoch(training, epoch)
    assert num_images == 80
    assert losses["id_loss"] < 0.1
    assert losses["metric_loss"] < 0.1


def test_a_loss_that_is_not_finite_is_named(small_recipe, manifest):
    recipe = small_recipe(optimizer="sgd", lr=1e9, warmup_epochs=0)
    with pytest.raises(NonFiniteLoss, match=r"The loss is (nan|inf) in epoch \d, step \d+, with lr=1000000000.0"):
        train(recipe, manifest, report=lambda report, save: None)


@pytest.mark.parametrize(
    ("changes", "settings", "named"),
    [({"lr": 0.5}, {}, "lr"), ({}, {"seed": 1}, "seed"), ({}, {"fold": 2}, "fold")],
)
def test_a_checkpoint_of_another_training_is_refused(small_recipe, manifest, tmp_path, changes, settings, named):
    reports = Reports(tmp_path)
    train(small_recipe(epochs=1), manifest, report=reports)
    recipe = small_recipe(epochs=1, **changes)
    with pytest.raises(Error, match=f"{named}.* not "):
        train(recipe, manifest, report=reports, resume=tmp_path / "1", **settings)


def test_a_fold_that_does_not_exist_is_refused(small_recipe, manifest):
    with pytest.raises(Error, match="Fold 5"):
        train(small_recipe(), manifest, report=lambda report, save: None, fold=5)


def test_the_reported_metrics_are_those_of_the_saved_model_by_hand(small_recipe, manifest, tmp_path):
    reports = Reports(tmp_path)
    train(small_recipe(epochs=1, jpm=True, stride_px=6), manifest, report=reports)
    model, info = load_model(tmp_path / "1")
    training = prepare(info.recipe, manifest, fold=0, seed=0, device=Device("cpu"))
    query, gallery = training.evaluation.query, training.evaluation.gallery
    with torch.inference_mode():
        features = [
            model.embed(torch.from_numpy(training.inputs.images[[index]])).numpy()[0] for index in (*query, *gallery)
        ]
    scores = cross_role_metrics(
        np.stack(features[: len(query)]),
        np.stack(features[len(query) :]),
        query_works=manifest.work[query],
        gallery_works=manifest.work[gallery],
        query_roles=manifest.role[query],
        gallery_roles=manifest.role[gallery],
    )
    assert reports.metrics[0]["mAP"] == pytest.approx(scores.mAP, abs=1e-6)
    assert reports.metrics[0]["cmc_1"] == scores.cmc[1]
    whole = evaluate(model, Evaluation(manifest, "val"), training.inputs, Device("cpu"))
    assert (whole["mAP"], whole["mINP"]) == (info.metrics["mAP"], info.metrics["mINP"])


def test_features_do_not_depend_on_the_batch_and_the_models_mode_is_kept(small_recipe, manifest):
    training = prepare(small_recipe(), manifest, fold=0, seed=0, device=Device("cpu"))
    training.model.train()
    indices = np.arange(7)
    whole_ND = extract_features(training.model, training.inputs, indices, Device("cpu"))
    parts_ND = extract_features(training.model, training.inputs, indices, Device("cpu"), batch_size=BatchSize(3))
    torch.testing.assert_close(whole_ND, parts_ND, rtol=0, atol=1e-6)
    assert training.model.training
    assert extract_features(training.model, training.inputs, indices[:0], Device("cpu")).shape == (0, 64)
