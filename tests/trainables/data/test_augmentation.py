"""Augmentation: parameters from seed, epoch and place alone, and one result on every device."""

from operator import itemgetter

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from shards_tools.errors import Error
from trainables.data.augmentation import Augmentation, AugmentParams, augment, augment_batch, augment_pictures

RESIZED = {"crop_area": (0.3, 1.0), "pad_px": 0}
JITTER = {"jitter_brightness": 0.3, "jitter_contrast": 0.3, "jitter_saturation": 0.3, "jitter_hue": 0.1}
CHANGES = [{}, {"enlarge_px": 3}, {"jitter_hue": 0.2}, RESIZED, {**JITTER, "pad_px": 3}, {**JITTER, **RESIZED}]
CHANGES += [{"image_size": "24x16", "enlarge_px": 3}, {**JITTER, "image_size": "16x24", **RESIZED}]


def make_images(recipe):
    return np.random.default_rng(0).integers(0, 256, (4, *read_size(recipe), 3), np.uint8)


def read_size(recipe):
    return [side + recipe.enlarge_px for side in recipe.size]


def sampled(recipe, batch, places=slice(0, 4), **place):
    augmentation = Augmentation(recipe, (6, 4), places, **{"seed": 1, "epoch": 1, **place})
    return augmentation.sample(batch, np.full((len(range(4)[places]), 2), read_size(recipe)))


def allocate(shape):
    return torch.empty(shape, dtype=torch.uint8)


@pytest.mark.parametrize("changes", CHANGES)
def test_what_befalls_an_image_is_up_to_seed_epoch_and_place_alone(small_recipe, changes):
    recipe = small_recipe(**changes)

    def augmented(batch, **place):
        return augment_pictures(make_images(recipe), sampled(recipe, batch, **place), recipe, allocate).numpy()

    np.testing.assert_array_equal(augmented(3), augmented(3))
    for other in (augmented(2), augmented(3, seed=2), augmented(3, epoch=2)):
        assert not np.array_equal(other, augmented(3))


@pytest.mark.parametrize("changes", CHANGES)
def test_augmenting_a_batch_at_once_gives_what_its_images_give_one_by_one(small_recipe, changes):
    recipe = small_recipe(**changes)
    images, params = make_images(recipe), sampled(recipe, 2)
    one_by_one = augment_pictures(list(images), params, recipe, allocate)
    np.testing.assert_array_equal(augment(torch.from_numpy(images.copy()), params, recipe).numpy(), one_by_one.numpy())
    at_once = augment_batch(torch.from_numpy(images.copy()), params, recipe)
    if recipe.crop_area is None:
        assert torch.equal(at_once, one_by_one)
    else:
        # resized crops differ by one level at most, which jitter may multiply
        differences = (at_once.int() - one_by_one.int()).abs()
        assert differences.max() <= (1 if params.factors_B4 is None else 16)
        assert differences.float().mean() < 0.4


@pytest.mark.parametrize("changes", CHANGES)
def test_a_batch_is_augmented_where_it_lies_without_waiting_for_a_gpu(small_recipe, changes):
    recipe = small_recipe(**changes)
    params = sampled(recipe, 2)
    # fake tensors refuse .item(), boolean indexing and tensors of two devices
    with FakeTensorMode(allow_non_fake_inputs=True):
        on_gpu = params.each(lambda part: part.to("cuda"))
        images_BHWC = augment(torch.empty(make_images(recipe).shape, dtype=torch.uint8, device="cuda"), on_gpu, recipe)
    assert images_BHWC.device.type == "cuda"
    assert images_BHWC.shape == (4, *recipe.size, 3)
    assert images_BHWC.dtype == torch.uint8


def test_params_of_some_images_are_those_that_these_images_have_in_the_batch(small_recipe):
    recipe = small_recipe(**JITTER, **RESIZED)
    whole = sampled(recipe, 4)
    for part in (sampled(recipe, 4, slice(1, 3)), whole.each(itemgetter(slice(1, 3)))):
        assert torch.equal(part.flips_B, whole.flips_B[1:3])
        assert torch.equal(part.boxes_B4, whole.boxes_B4[1:3])
        assert torch.equal(part.factors_B4, whole.factors_B4[1:3])
        assert torch.equal(part.orders_B4, whole.orders_B4[1:3])
        assert part.corners_B2 is None


def test_geometry_and_colors_in_turn_give_what_both_give_together(small_recipe):
    recipe = small_recipe(**JITTER)
    params, images = sampled(recipe, 0), make_images(recipe)
    cropped = augment_pictures(images, params.geometry(), recipe, allocate)
    expected = augment_pictures(images, params, recipe, allocate)
    assert not torch.equal(cropped, expected)
    for jittered in (augment(cropped, params.colors(), recipe), augment_batch(cropped, params.colors(), recipe)):
        assert torch.equal(jittered, expected)
        cropped = augment_pictures(images, params.geometry(), recipe, allocate)
    assert AugmentParams(flips_B=params.flips_B, corners_B2=params.corners_B2).colors() is None


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
