"""Color jitter beside torchvision's, image by image."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms import functional as on_pictures
from torchvision.transforms.v2 import functional as on_tensors

from trainables.data.color import CONTRAST, HUE, jitter_at_once, jitter_one_by_one, sample_colors

FORMS = [jitter_one_by_one, jitter_at_once]
STRENGTHS = [(0.4, 0.4, 0.4, 0.1), (0.3, 0.3, 0.3, 0.3), (1.5, 2.0, 2.0, 0.5), (0.2, 0.0, 0.5, 0.0)]
ADJUST = (
    on_tensors.adjust_brightness,
    on_tensors.adjust_contrast,
    on_tensors.adjust_saturation,
    on_tensors.adjust_hue,
)


def image_sets(random):
    """Noise, gray noise, the ends of the range, and shades of one color per image: [8, 20, 31, 3] each."""
    shape = (8, 20, 31, 3)
    yield random.integers(0, 256, shape, np.uint8)
    yield np.ascontiguousarray(np.broadcast_to(random.integers(0, 256, (*shape[:3], 1), np.uint8), shape))
    yield random.choice(np.array([0, 1, 127, 128, 254, 255], np.uint8), shape)
    yield (random.integers(0, 200, (8, 1, 1, 3)) + random.integers(0, 56, shape)).astype(np.uint8)


def jittered(form, images_BHWC, strengths, factors_B4, orders_B4):
    changed_BHWC = torch.from_numpy(images_BHWC.copy())
    form(changed_BHWC, strengths, torch.from_numpy(factors_B4), torch.from_numpy(orders_B4))
    return changed_BHWC.numpy()


def torchvisions(images_BHWC, strengths, factors_B4, orders_B4):
    changed = []
    for image_HWC, factors, order in zip(images_BHWC, factors_B4, orders_B4, strict=True):
        image_CHW = torch.from_numpy(image_HWC.copy()).permute(2, 0, 1)
        for kind in order:
            if strengths[kind] > 0:
                image_CHW = ADJUST[kind](image_CHW, float(factors[kind]))
        changed.append(image_CHW.permute(1, 2, 0).numpy())
    return np.stack(changed)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("strengths", STRENGTHS)
def test_every_pixel_is_the_one_of_torchvision_in_each_images_own_order(form, strengths):
    random = np.random.default_rng(0)
    for images_BHWC in image_sets(random):
        params = sample_colors(len(images_BHWC), strengths, random)
        np.testing.assert_array_equal(
            jittered(form, images_BHWC, strengths, *params), torchvisions(images_BHWC, strengths, *params)
        )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_every_order_gives_the_pixels_of_torchvision(form, order):
    random = np.random.default_rng(order)
    orders_B4 = np.tile(np.array(order), (8, 1))
    images_BHWC = next(image_sets(random))
    factors_B4 = sample_colors(8, STRENGTHS[1], random)[0]
    expected = torchvisions(images_BHWC, STRENGTHS[1], factors_B4, orders_B4)
    np.testing.assert_array_equal(jittered(form, images_BHWC, STRENGTHS[1], factors_B4, orders_B4), expected)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", range(4))
def test_each_kind_alone_gives_the_pixels_of_torchvision(form, kind):
    random = np.random.default_rng(kind)
    strengths = [0.0] * 4
    strengths[kind] = 0.5
    ends = np.array([[-0.5], [-1 / 6], [0.0], [1 / 3], [0.5]]) + (0 if kind == HUE else 1)
    for images_BHWC in image_sets(random):
        factors_B4, orders_B4 = sample_colors(8, strengths, random)
        factors_B4[:5, kind] = ends[:, 0]
        expected = torchvisions(images_BHWC, strengths, factors_B4, orders_B4)
        np.testing.assert_array_equal(jittered(form, images_BHWC, strengths, factors_B4, orders_B4), expected)


def test_every_hue_of_coarse_colors_turns_as_in_torchvision():
    levels = np.array([0, 1, 2, 3, 60, 61, 128, 200, 254, 255], np.uint8)
    images_BHWC = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, 20, 50, 3)
    strengths, order = (0.0, 0.0, 0.0, 0.5), np.arange(4)[None]
    for turns in np.linspace(-0.5, 0.5, 25):
        factors_B4 = np.array([[1, 1, 1, turns]])
        expected = torchvisions(images_BHWC, strengths, factors_B4, order)
        np.testing.assert_array_equal(jittered(jitter_one_by_one, images_BHWC, strengths, factors_B4, order), expected)


def test_jittered_colors_are_torchvisions_on_pictures_in_one_of_all_orders():
    draw = np.random.default_rng(5)
    ramp = np.linspace(60, 180, 12)[:, None, None] + np.array([0, 25, 50]) + draw.uniform(-10, 10, (30, 12, 12, 3))
    before = ramp.astype(np.uint8)
    strengths = (0.3, 0.3, 0.5, 0.1)
    after = jittered(jitter_one_by_one, before, strengths, *sample_colors(30, strengths, np.random.default_rng(9)))
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
        params = sample_colors(200, strengths, np.random.default_rng(0))
        np.testing.assert_allclose(jittered(jitter_one_by_one, gray, strengths, *params), gray, atol=most)
    strengths = (0.2, 0.0, 0.0, 0.0)
    after = jittered(jitter_one_by_one, gray, strengths, *sample_colors(200, strengths, np.random.default_rng(0)))
    assert 80 <= after.min() < 84
    assert 116 < after.max() <= 120


class Launches(TorchDispatchMode):
    """Counts the operations that would launch a kernel; views would not."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += not (func.is_view or func is torch.ops.aten.detach_.default)
        return func(*args, **kwargs or {})


def test_a_larger_batch_has_no_more_launches():
    counts = []
    for num_images in (2, 16):
        params = map(torch.from_numpy, sample_colors(num_images, STRENGTHS[0], np.random.default_rng(0)))
        images_BHWC = torch.zeros((num_images, 8, 8, 3), dtype=torch.uint8)
        with Launches() as launches:
            jitter_at_once(images_BHWC, STRENGTHS[0], *params)
        counts.append(launches.count)
    assert counts[0] == counts[1] <= 150


def test_the_mean_gray_of_contrast_is_exact_at_256_px():
    white_BHWC = np.full((1, 256, 256, 3), 255, np.uint8)
    white_BHWC[:, ::2] = 3
    strengths = [0.0] * 4
    strengths[CONTRAST] = 0.9
    factors_B4, order = np.array([[1, 0.31, 1, 0]]), np.arange(4)[None]
    np.testing.assert_array_equal(
        jittered(jitter_one_by_one, white_BHWC, strengths, factors_B4, order),
        torchvisions(white_BHWC, strengths, factors_B4, order),
    )
