"""Augmentation beside torchvision: the same laws, the same pixels; and the memory of its batches."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as on_pictures

from shards_tools.decode import resize
from shards_tools.errors import Error
from trainables.data.augmentation import (
    Augmentation,
    BufferPool,
    draw_colors,
    jitter_colors,
    resized_crops,
)

SHAPE = (2, 4, 4, 3)  # of a batch


def jitter(images_BHWC, strengths, random):
    jitter_colors(images_BHWC, strengths, *draw_colors(len(images_BHWC), strengths, random))


def test_a_resized_crop_is_the_box_read_resized_and_mirrored():
    images = [np.random.default_rng(size).integers(0, 256, (size, 2 * size, 3), np.uint8) for size in (20, 33)]
    for image in images:
        image.flags.writeable = False  # as PIL gives them
    cut = resized_crops(images, np.array([[2, 3, 10, 12], [0, 5, 33, 40]]), np.array([False, True]), 16)
    np.testing.assert_array_equal(cut[0], resize(images[0][2:12, 3:15], 16, 16))
    np.testing.assert_array_equal(cut[1], resize(images[1][:, 5:45], 16, 16)[:, ::-1])


def test_jittered_colors_are_torchvisions_on_pictures_in_one_of_all_orders():
    draw = np.random.default_rng(5)
    ramp = np.linspace(60, 180, 12)[:, None, None] + np.array([0, 25, 50]) + draw.uniform(-10, 10, (30, 12, 12, 3))
    before = ramp.astype(np.uint8)
    after = before.copy()
    strengths = (0.3, 0.3, 0.5, 0.1)
    jitter(after, strengths, np.random.default_rng(9))
    random = np.random.default_rng(9)  # the same draws
    middles = np.array([1, 1, 1, 0])
    factors = random.uniform(middles - strengths, middles + strengths, (30, 4))
    adjust = (
        on_pictures.adjust_brightness, on_pictures.adjust_contrast,
        on_pictures.adjust_saturation, on_pictures.adjust_hue,
    )  # fmt: skip
    orders = set()
    for old, new, factor in zip(before, after, factors, strict=True):
        distances = {}
        for order in itertools.permutations(range(4)):
            picture = Image.fromarray(old)
            for kind in order:
                picture = adjust[kind](picture, float(factor[kind]))
            distances[order] = np.abs(np.asarray(picture).astype(int) - new).mean()
        orders.add(min(distances, key=distances.__getitem__))
        assert min(distances.values()) < 3  # PIL's hue has 256 steps
    assert len(orders) > 8


def test_strengths_of_zero_change_nothing_and_factors_stay_in_their_ranges():
    gray = np.full((200, 4, 4, 3), 100, np.uint8)
    # gray has no contrast, saturation or hue, but torchvision rounds its shades
    for strengths, most in (((0.0, 0.0, 0.0, 0.0), 0), ((0.0, 0.7, 0.9, 0.5), 3)):
        after = gray.copy()
        jitter(after, strengths, np.random.default_rng(0))
        np.testing.assert_allclose(after, gray, atol=most)
    jitter(gray, (0.2, 0.0, 0.0, 0.0), np.random.default_rng(0))
    assert 80 <= gray.min() < 84
    assert 116 < gray.max() <= 120


@pytest.mark.parametrize(
    "changes", [{}, {"enlarge_px": 3}, {"jitter_hue": 0.2}, {"crop_area": (0.3, 1.0), "pad_px": 0}]
)
def test_what_befalls_an_image_is_up_to_seed_epoch_and_place_alone(small_recipe, changes):
    recipe = small_recipe(**changes)
    size = 24 + recipe.enlarge_px
    images = np.random.default_rng(0).integers(0, 256, (4, size, size, 3), np.uint8)

    def augmented(batch, **place):
        return Augmentation(recipe, (6, 4), slice(0, 4), **{"seed": 1, "epoch": 1, **place})(images, batch)

    np.testing.assert_array_equal(augmented(3), augmented(3))
    for other in (augmented(2), augmented(3, seed=2), augmented(3, epoch=2)):
        assert not np.array_equal(other, augmented(3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"jitter_hue": 0.6}, "in 0..0.5"),
        ({"jitter_contrast": -0.1}, "in 0..inf"),
        ({"crop_area": (0.5, 0.2), "pad_px": 0}, "two fractions above 0"),
        ({"crop_area": (0.5, 1.5), "pad_px": 0}, "two fractions above 0"),
        ({"crop_area": (0.5, 1.0)}, "pad_px=1 is invalid: it must be 0 with crop_area"),
        ({"crop_area": (0.5, 1.0), "pad_px": 0, "enlarge_px": 4}, "enlarge_px=4 is invalid"),
        ({"crop_aspect": (2.0, 1.0)}, "the lower first"),
        ({"enlarge_px": -1}, "at least 0"),
        ({"erase_fill": "white"}, "'white' is not a known erase_fill"),
    ],
)
def test_values_that_no_augmentation_has_are_refused(small_recipe, changes, message):
    with pytest.raises(Error, match=message):
        small_recipe(**changes)


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_that_nobody_holds_is_given_out_again():
    pool = BufferPool()
    first = address(pool.take(SHAPE))
    assert address(pool.take(SHAPE)) == first


def test_memory_is_not_given_out_while_an_array_a_view_or_a_tensor_of_it_lives():
    pool = BufferPool()
    array, view, tensor = pool.take(SHAPE), pool.take(SHAPE)[1:], torch.from_numpy(pool.take(SHAPE))[0, 0]
    held = {address(array), address(view.base), tensor.untyped_storage().data_ptr()}
    assert len(held) == 3
    fresh = pool.take(SHAPE)
    assert address(fresh) not in held
    del array, view, tensor
    assert {address(array) for array in [pool.take(SHAPE) for _ in range(3)]} <= held


def test_another_shape_has_memory_of_its_own():
    pool = BufferPool()
    larger = (4, 4, 4, 3)
    kept = pool.take(SHAPE)
    assert pool.take(larger).shape == larger
    assert not np.shares_memory(kept, pool.take(SHAPE))
