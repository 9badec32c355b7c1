"""The largest of many recipes is told from the shapes of its model, and really takes the most."""

import math
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from shards_tools.manifest_file import read_manifest
from shards_tools.parallel import in_processes
from trainables.profiling.measure_step import OneStep
from trainables.profiling.memory_estimate import bytes_held
from trainables.ray_trial import run_one_step
from trainables.recipes import RECIPES, get_recipe
from trainables.recipes.recipe import Recipe
from trainables.recipes.settings import settings_of

LIMIT_BYTES = 8 * 10**9


def one_step(recipe: Recipe, shards: Path, num_ranks: int = 1) -> OneStep:
    """A step of the recipe in a process of its own."""
    config: dict[str, Any] = {"recipe": recipe.name, "settings": settings_of(recipe), "data": str(shards)}
    config |= {"fold": 0, "seed": 0, "num_threads": 1, "gpu_fraction": 1.0, "reading": "auto", "ranks": num_ranks}
    config |= {"plugins": [], "accept_changed_code": False}
    job = {"config": config, "memory_bytes": LIMIT_BYTES}
    ((_, step),) = in_processes(run_one_step, [job], 2)
    return OneStep(**step)


@pytest.mark.parametrize("name", [name for name in RECIPES if name.endswith("-tiny")])
def test_every_family_is_counted_and_holds_more_than_its_weights(name: str) -> None:
    recipe = get_recipe(name)
    assert bytes_held(recipe, num_works=6, num_images=1000) > 10**6
    assert bytes_held(replace(recipe, activation_checkpointing=True), num_works=6, num_images=1000) <= bytes_held(
        recipe, num_works=6, num_images=1000
    )


def test_adam_holds_one_number_per_weight_more_than_sgd() -> None:
    """ViT-Base has 85.8 M weights (Dosovitskiy et al. 2021, table 1, says 86 M), of four bytes each."""
    recipe = get_recipe("transreid-vit-base")
    more = bytes_held(replace(recipe, optimizer="adamw"), 100, 9999) - bytes_held(
        replace(recipe, optimizer="sgd"), 100, 9999
    )
    assert more == pytest.approx(4 * 85.8e6, rel=0.01)


def test_a_micro_batch_holds_the_activations_of_its_images_alone() -> None:
    recipe = get_recipe("transreid-tiny")
    whole, part = bytes_held(recipe, 100, 9999), bytes_held(replace(recipe, micro_batch=8), 100, 9999)
    assert whole - part == pytest.approx((64 - 8) / 64 * whole, rel=0.05)


@pytest.mark.slow
def test_what_a_larger_batch_really_takes_is_what_was_counted(shards: Path) -> None:
    small = replace(get_recipe("transreid-tiny"), works_per_batch=4, images_per_work=4, jpm=True)
    large = replace(small, images_per_work=64)
    took = one_step(large, shards).peak_bytes - one_step(small, shards).peak_bytes
    assert 0.5 < took / (bytes_held(large, 6, 1000) - bytes_held(small, 6, 1000)) < 2


@pytest.mark.slow
def test_a_rank_takes_its_part_of_a_batch_and_of_the_evaluation(shards: Path) -> None:
    recipe = replace(get_recipe("transreid-tiny"), works_per_batch=4, images_per_work=64, jpm=True)
    alone, of_four = one_step(recipe, shards), one_step(recipe, shards, num_ranks=4)
    assert of_four.batch_images == alone.batch_images == 256
    assert of_four.val_images == math.ceil(alone.val_images / 4)
    saved = alone.peak_bytes - of_four.peak_bytes
    assert 0.5 < saved / (3 / 4 * bytes_held(recipe, 6, 1000)) < 2


@pytest.mark.slow
def test_a_batch_larger_than_the_training_split_is_measured_at_its_size(shards: Path) -> None:
    recipe = replace(get_recipe("dafre-224-r18-tiny"), batch_size=10_000, images_per_epoch=None)
    assert one_step(recipe, shards).batch_images == len(read_manifest(shards).split(0).train)


def test_a_step_that_finds_no_memory_says_so_and_measures_nothing(shards: Path) -> None:
    config: dict[str, Any] = {"recipe": "transreid-tiny", "settings": {}, "data": str(shards), "fold": 0, "seed": 0}
    config |= {"num_threads": 1, "gpu_fraction": 1.0, "reading": "auto", "ranks": 1}
    config |= {"plugins": [], "accept_changed_code": False}
    job = {"config": config, "memory_bytes": 1}
    ((_, step),) = in_processes(run_one_step, [job], 2)
    assert step == asdict(OneStep(out_of="memory"))


def test_memory_that_ends_where_python_has_none_for_its_own_error_is_told_and_given_back() -> None:
    program = """
from trainables.profiling import measure_step as one_step

def fill(*_):
    try:
        while True:
            taken.append(bytes(50_000))
    except MemoryError:
        raise SystemError("<function f> returned NULL without setting an exception")

taken = []
one_step._measure = fill
step = one_step.measure(None, None, fold=0, seed=0, reading="auto", memory_bytes=0)
print(step.out_of, len(bytes(10**8)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"memory {10**8}\n", "")
