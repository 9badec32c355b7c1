"""A training's seconds are projected from its measured parts."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from shards_tools.build import build
from shards_tools.cache import decoded
from shards_tools.manifest import Manifest
from shards_tools.parallel import num_cpus
from shards_tools.sample import draw_tree
from shards_tools.sources import dafre
from trainables.profiling.measure_step import OneStep, measure
from trainables.recipes import get_recipe
from trainables.recipes.recipe import Recipe
from trainables.recipes.settings import override

STEP = OneStep(batch_images=10, epoch_images=50, val_images=30, evaluate_images=20, step_s=4.0, load_s=3.0)


def pipeline_s(num_batches: int, load_s: float, step_s: float) -> float:
    """An epoch with one thread that loads a batch ahead, simulated batch by batch."""
    loaded = done = 0.0
    for number in range(num_batches):
        loaded += load_s
        if number + 1 == num_batches:
            return max(done, loaded) + step_s
        start = max(done, loaded)  # the loader begins the next batch when the training takes this one
        loaded, done = start, start + step_s
    return done


@pytest.mark.parametrize(("load_s", "step_s"), [(3.0, 4.0), (4.0, 3.0), (0.0, 1.0), (2.0, 2.0)])
def test_an_epoch_takes_the_slower_of_loading_and_steps(load_s: float, step_s: float) -> None:
    step = OneStep(batch_images=10, epoch_images=50, evaluate_images=1, load_s=load_s, step_s=step_s)
    assert step.epoch_s() == pipeline_s(5, load_s, step_s)
    assert step.epoch_s(loads_ahead=False) == 5 * (load_s + step_s)


def test_half_a_gpu_takes_twice_as_long_to_compute_but_not_to_load() -> None:
    assert STEP.epoch_s() == pipeline_s(5, 3.0, 4.0)
    assert STEP.epoch_s(gpu_share=0.5) == pipeline_s(5, 3.0, 8.0)


@pytest.mark.parametrize(("gpu_bytes", "batch_s"), [(0, 2.0 + 6.0), (1, 6.0)])
def test_an_evaluation_loads_and_computes_in_turn_except_on_a_gpu(gpu_bytes: int, batch_s: float) -> None:
    step = OneStep(
        batch_images=1, val_images=30, evaluate_images=20, evaluate_load_s=2.0, evaluate_s=6.0, gpu_bytes=gpu_bytes
    )
    assert step.epoch_s() == 1.5 * batch_s


def test_metrics_and_checkpoint_count_every_epoch_and_the_preparation_once() -> None:
    step = OneStep(
        batch_images=1,
        evaluate_images=1,
        metrics_s=2.0,
        copy_s=3.0,
        prepare_s=10.0,
        warm_up_s=1.0,
        process_s=99.0,
    )
    assert step.training_s(4) == 10 + 1 + 4 * (2 + 3)


def test_a_checkpoint_is_written_during_the_next_epoch_if_a_cpu_is_free() -> None:
    step = OneStep(batch_images=1, evaluate_images=1, metrics_s=4.0, copy_s=1.0, write_s=3.0)
    assert (step.epoch_s(), step.epoch_s(loads_ahead=False)) == (4 + 1, 4 + 1 + 3)
    assert replace(step, write_s=9.0).epoch_s() == 9  # one is written at a time


def measured(recipe: Recipe, manifest: Manifest) -> OneStep:
    """The recipe's measurement with a clock that advances by half a second whenever it is read."""
    ticks = itertools.count(0.0, 0.5)
    return measure(recipe, manifest, fold=0, seed=0, reading="auto", memory_bytes=8 * 10**9, clock=lambda: next(ticks))


def test_decoding_counts_until_the_images_are_in_the_cache_and_measuring_leaves_none_there(
    manifest: Manifest,
    small_recipe: Callable[..., Recipe],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SAKUGA_CACHE", str(tmp_path))
    recipe = small_recipe(enlarge_px=2)
    step = measured(recipe, manifest)
    assert not [*tmp_path.rglob("*.npy")]
    parts = ("prepare_s", "load_s", "step_s", "evaluate_load_s", "evaluate_s", "metrics_s", "copy_s", "write_s")
    assert all(getattr(step, name) > 0 for name in parts)
    # half a second for all training images, on one thread; there are two sizes
    num_train = len(manifest.split(0).train)
    assert step.decode_s == pytest.approx(2 * 0.5 * manifest.num_images / num_train / num_cpus())
    decoded(manifest, recipe.image_size, recipe.image_size)
    assert measured(recipe, manifest).decode_s == pytest.approx(step.decode_s / 2)
    decoded(manifest, recipe.image_size + 2, recipe.image_size + 2)
    assert measured(recipe, manifest).decode_s == 0


def test_images_of_native_sizes_are_decoded_on_demand(mixed_sizes: Manifest) -> None:
    recipe = override(
        get_recipe("icartoonface-tiny"), {"crop_area": (0.5, 1.0), "pad_px": 0, "enlarge_px": 0, "batch_size": 4}
    )
    step = measured(recipe, mixed_sizes)
    assert step.decode_s == 0
    assert step.load_s > 0


def test_the_evaluation_of_a_classifier_is_measured_too(tmp_path: Path) -> None:
    draw_tree(tmp_path / "tree", layout="dafre")
    manifest = build(dafre.scan(tmp_path / "tree"), tmp_path / "shards")
    recipe = override(get_recipe("dafre-128-r18-tiny"), {"batch_size": 8})
    step = measured(recipe, manifest)
    assert step.evaluate_s > 0
    assert step.metrics_s > 0
