"""Batches: which images, which geometry, and that nothing but seed, epoch and place decides."""

import threading
import time
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from PIL import Image

from shards_tools.batch_samplers import BATCH_SAMPLERS
from shards_tools.batch_samplers.epochs import EpochParams
from shards_tools.decode import decode
from shards_tools.errors import Error
from shards_tools.parallel import in_order
from shards_tools.reader import read_image
from tests.trainables.data.batch_contents import assert_same_contents, contents_of
from trainables.data.batches import EpochBatches, TrainingSet
from trainables.data.reading import evaluation_inputs, training_images
from trainables.device import Device
from trainables.recipes import RECIPES, get_recipe
from trainables.training.train_state import prepare

NUM_WORKS, PER_WORK = 6, 12
LABELS = np.repeat(np.arange(NUM_WORKS), PER_WORK)
ROLES = np.arange(len(LABELS)) // 2  # six of each work
PIXELS = np.random.default_rng(0).integers(0, 256, (100, 24, 24, 3), dtype=np.uint8)
INDICES = np.arange(100)[-len(LABELS) :]  # the training images are not the first of the file
DATA = TrainingSet(PIXELS, INDICES, LABELS, ROLES)


def all_batches(recipe, **changes):
    settings = {"seed": 3, "epoch": 2, **changes}
    batches = list(EpochBatches(DATA, recipe, **settings).start())
    images = np.concatenate([batch.images.numpy() for batch in batches])
    return images, np.concatenate([batch.labels.numpy() for batch in batches])


def test_equal_seed_and_epoch_give_equal_batches_and_others_give_others(small_recipe):
    recipe = small_recipe()
    first, again = all_batches(recipe), all_batches(recipe)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    for change in ({"seed": 4}, {"epoch": 3}):
        assert not np.array_equal(first[0], all_batches(recipe, **change)[0])


def test_batches_are_made_alike_when_no_one_looks_at_all_of_them(small_recipe):
    batches = EpochBatches(DATA, small_recipe(), seed=3, epoch=2).start()
    images_BHWC = next(batches).images
    batches.close()
    assert np.array_equal(images_BHWC.numpy(), all_batches(small_recipe())[0][: len(images_BHWC)])


def test_without_flips_and_borders_an_epoch_holds_every_training_image_with_its_work(small_recipe):
    images, works = all_batches(small_recipe(flip_probability=0.0, pad_px=0))
    found = set()
    for image, work in zip(images, works, strict=True):
        index = int(np.flatnonzero((image == PIXELS).all(axis=(1, 2, 3)))[0])
        assert LABELS[index - INDICES[0]] == work
        found.add(index)
    assert found == set(INDICES.tolist())


def test_a_batch_holds_p_works_with_k_images_each(small_recipe):
    recipe = small_recipe(works_per_batch=3, images_per_work=5)
    for batch in EpochBatches(DATA, recipe, seed=0, epoch=1).start():
        assert batch.images.shape == (15, 24, 24, 3)
        _, counts = np.unique(batch.labels.numpy(), return_counts=True)
        assert counts.tolist() == [5, 5, 5]


def test_the_plan_that_a_recipe_names_forms_its_batches_from_works_and_roles(small_recipe):
    shape = {"works_per_batch": 3, "images_per_work": 4, "flip_probability": 0.0, "pad_px": 0, "metric_weight": 0.0}
    draw = EpochParams(works_per_batch=3, images_per_work=4, seed=3, epoch=1)
    for name, indices in BATCH_SAMPLERS.items():
        expected = indices(LABELS, ROLES, draw)
        images, works = all_batches(small_recipe(batch_sampler=name, **shape))
        assert np.array_equal(works, LABELS[expected.ravel()])
        assert np.array_equal(images, PIXELS[INDICES[expected.ravel()]])


def test_short_epochs_come_to_every_image_in_turn(small_recipe):
    recipe = small_recipe(flip_probability=0.0, pad_px=0, images_per_epoch=32)
    first, second, third = (all_batches(recipe, epoch=epoch)[0] for epoch in (1, 2, 3))
    assert max(len(first), len(second), len(third)) <= 32
    seen = {image.tobytes() for image in np.concatenate([first, second, third])}
    assert seen == {PIXELS[index].tobytes() for index in INDICES}


def test_half_of_the_images_are_flipped_and_every_offset_occurs(small_recipe):
    marked = np.zeros((100, 24, 24, 3), np.uint8)
    marked[:, 12, 6] = 255  # one pixel tells where an image went
    recipe = small_recipe(flip_probability=0.5, pad_px=2)
    places, flipped = set(), 0
    for epoch in range(1, 21):
        for batch in EpochBatches(replace(DATA, images=marked), recipe, seed=0, epoch=epoch).start():
            for _, row, column, _ in np.argwhere(batch.images.numpy()[..., :1]):
                flipped += column > 12
                places.add((int(row), int(column if column < 12 else 23 - column)))
    assert places == {(row, column) for row in range(10, 15) for column in range(4, 9)}
    assert flipped / (20 * 80) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("num_works", "expected"), [(16, (16, 4)), (99, (16, 4)), (8, (8, 8)), (6, (6, 10)), (2, (2, 32))]
)
def test_with_few_works_the_images_of_each_are_raised(small_recipe, num_works, expected):
    recipe = small_recipe(works_per_batch=16, images_per_work=4)
    assert recipe.batch_shape(num_works, 1000) == expected


@pytest.mark.parametrize(
    ("recipe", "num_works", "num_images", "shape", "sentence"),
    [
        ("dafre-tiny", 3, 54, (54, 1), "Batches of 64 images become 54: the training split has 54 images."),
        ("dafre-tiny", 3, 64, (64, 1), ""),
        ("transreid-tiny", 3, 54, (3, 21), "Batches of 16 works x 4 images become 3 x 21: the training split has 3"),
        ("transreid-tiny", 99, 54, (16, 4), ""),
        ("transreid-tiny/shuffle", 3, 54, (3, 18), "Batches of 16 works x 4 images become 3 x 18: the training split"),
    ],
)
def test_a_batch_shrinks_to_a_smaller_training_split(recipe, num_works, num_images, shape, sentence):
    name, _, sampler = recipe.partition("/")
    recipe = get_recipe(name)
    changes = {"works_per_batch": 16, "images_per_work": 4} if name == "transreid-tiny" else {"batch_size": 64}
    recipe = replace(recipe, **changes, **({"batch_sampler": sampler, "metric_weight": 0.0} if sampler else {}))
    assert recipe.batch_shape(num_works, num_images) == shape
    assert recipe.smaller_batch(num_works, num_images).startswith(sentence)
    assert bool(sentence) == bool(recipe.smaller_batch(num_works, num_images))


def test_a_single_work_is_refused(small_recipe):
    with pytest.raises(Error, match="needs at least 2 works, but train has 1"):
        small_recipe().batch_shape(1, 1000)


some_batches = partial(contents_of, DATA)


JITTER = {"jitter_brightness": 0.2, "jitter_hue": 0.1, "enlarge_px": 0}


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize("changes", [{}, {"crop_area": (0.3, 1.0), "pad_px": 0}], ids=["cropped", "resized"])
def test_every_rank_has_as_many_batches_and_together_they_are_those_of_one(small_recipe, world, workers, changes):
    recipe = small_recipe(works_per_batch=3, images_per_work=4, **{**JITTER, **changes})
    alone = some_batches(recipe, workers=0)
    ranks = [some_batches(recipe, rank=rank, world=world, workers=workers) for rank in range(world)]
    assert {len(batches) for batches in ranks} == {len(alone)}
    together = [tuple(map(np.concatenate, zip(*parts, strict=True))) for parts in zip(*ranks, strict=True)]
    assert_same_contents(together, alone)
    sizes = {len(labels) for batches in ranks for _, labels in batches}
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_an_epoch_resumed_at_any_batch_goes_on_as_it_would_have(small_recipe, workers):
    recipe = small_recipe(**JITTER)
    whole = some_batches(recipe, rank=1, world=2, workers=0)
    for first in range(len(whole) + 1):
        assert_same_contents(some_batches(recipe, rank=1, world=2, workers=workers, first=first), whole[first:])


def test_what_a_launcher_left_in_the_environment_has_no_effect(small_recipe, monkeypatch):
    before = some_batches(small_recipe())
    for name, value in {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "WORKER": "1", "NUM_WORKERS": "2"}.items():
        monkeypatch.setenv(name, value)
    assert_same_contents(some_batches(small_recipe()), before)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_at_most_one_batch_per_worker_is_made_ahead_of_the_one_in_use(workers):
    started = []

    def start(number):
        started.append(number)
        return number

    results = in_order((partial(start, number) for number in range(50)), workers)
    for number in range(10):
        assert next(results) == number
        time.sleep(0.01)
        assert len(started) <= number + 1 + workers
    results.close()


@pytest.mark.parametrize("ending", ["consumer stops", "consumer raises", "task raises"])
def test_no_thread_lives_on_when_batches_end_early(ending):
    before = threading.active_count()

    def work(number):
        if ending == "task raises" and number == 5:
            raise OSError("the disk is gone")
        return number

    def consume():
        with closing(in_order((lambda number=number: work(number) for number in range(1000)), 2)) as results:
            for number in results:
                if ending == "consumer stops" and number == 5:
                    return
                if ending == "consumer raises" and number == 5:
                    raise KeyError(number)

    with nullcontext() if ending == "consumer stops" else pytest.raises((OSError, KeyError)):
        consume()
    assert threading.active_count() == before


def test_larger_images_are_cropped_to_the_recipes_size_at_every_offset(small_recipe, manifest):
    recipe = small_recipe(enlarge_px=2, pad_px=0, flip_probability=0.0)
    images = training_images(recipe, manifest, "offset")
    split = manifest.split(0)
    labels = np.unique(manifest.work[split.train], return_inverse=True)[1]
    offsets = set()
    larger = images[split.train]
    assert larger.shape[1:] == (26, 26, 3)
    windows = np.lib.stride_tricks.sliding_window_view(larger, (24, 24), axis=(1, 2))  # N 3 3 C 24 24
    data = TrainingSet(images, split.train, labels, manifest.role[split.train])
    for batch in EpochBatches(data, recipe, seed=0, epoch=1).start():
        for image_HWC in batch.images.numpy()[:4]:
            same = (windows == image_HWC.transpose(2, 0, 1)).all(axis=(3, 4, 5))
            assert same.any()
            offsets.add(tuple(np.argwhere(same)[0][1:]))
    assert len(offsets) == 9


def test_resized_crops_are_cut_from_images_at_the_sizes_they_have(small_recipe, mixed_sizes):
    recipe = small_recipe(crop_area=(1.0, 1.0), crop_aspect=(1.0, 1.0), pad_px=0, works_per_batch=2, images_per_work=2)
    images = training_images(recipe, mixed_sizes, "auto")
    split = mixed_sizes.split(0)
    labels = np.unique(mixed_sizes.work[split.train], return_inverse=True)[1]
    data = TrainingSet(images, split.train, labels, mixed_sizes.role[split.train])
    first = next(EpochBatches(data, recipe, seed=0, epoch=1).start(workers=0))
    assert first.images.shape == (4, 24, 24, 3)
    with pytest.raises(Error, match="rules out `reading=decoded`"):
        training_images(recipe, mixed_sizes, "decoded")


def test_resized_crops_of_images_of_one_size_come_from_the_decoded_ones(small_recipe, manifest):
    recipe = small_recipe(crop_area=(0.1, 1.0), pad_px=0)
    assert training_images(recipe, manifest, "auto").reading == "decoded"


@pytest.mark.parametrize("reading", ["decoded", "offset", "stream"])
def test_training_images_are_resized_bicubically_where_the_recipe_says_so_and_evaluated_ones_never(
    small_recipe, manifest, reading
):
    recipe = small_recipe(train_resize="bicubic", image_size=16)
    indices = manifest.split(0).train[:5]
    original = [Image.fromarray(decode(read_image(manifest, index), "picture")) for index in indices]
    for images, resampling in (
        (training_images(recipe, manifest, reading), Image.Resampling.BICUBIC),
        (evaluation_inputs(recipe, manifest, (), reading).images, Image.Resampling.BILINEAR),
    ):
        expected = np.stack([np.asarray(picture.resize((16, 16), resampling)) for picture in original])
        np.testing.assert_array_equal(images[indices], expected)


def test_a_training_that_resizes_bicubically_evaluates_bilinearly(small_recipe, manifest):
    training = prepare(
        small_recipe(train_resize="bicubic", image_size=16), manifest, fold=0, seed=0, device=Device("cpu")
    )
    index = manifest.split(0).train[:1]
    assert not np.array_equal(training.data.images[index], training.inputs.images[index])


def test_transreids_upstream_rows_resize_training_images_bicubically():
    rows = [recipe for recipe in RECIPES.values() if recipe.system == "transreid" and recipe.preset == "upstream"]
    assert len(rows) == 12
    assert {recipe.train_resize for recipe in rows} == {"bicubic"}
