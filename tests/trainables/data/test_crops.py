"""Random resized crops beside torchvision, and beside PaddleClas's law written as a loop."""

import math
import random as python_random

import numpy as np
import pytest
import torch
from torchvision.transforms import RandomResizedCrop

from trainables.data.crops import PaddleCrop, TorchvisionCrop, crop_law
from trainables.recipes import get_recipe

ASPECT = (3 / 4, 4 / 3)
SHAPES = [(128, 128, (0.08, 1.0)), (90, 200, (0.3, 0.9)), (20, 400, (0.5, 1.0)), (200, 300, (0.08, 1.0))]
NUM_IMAGES = 4000


def sample_boxes(law, sizes, seed):
    return law.fit(law.sample(len(sizes), np.random.default_rng(seed)), sizes)


def paddle_box(height, width, area, random):
    """One box of PaddleClas's RandCropImage, as its program goes through it."""
    aspect = random.uniform(*ASPECT)
    bound = min(width / height / aspect, height / width * aspect)
    target = width * height * random.uniform(min(area[0], bound), min(area[1], bound))
    columns, rows = int(math.sqrt(target * aspect)), int(math.sqrt(target / aspect))
    left, top = random.randint(0, width - columns), random.randint(0, height - rows)
    return top, left, rows, columns


def have_one_distribution(one, other):
    """Kolmogorov and Smirnov's test at 0.1 %."""
    steps = np.union1d(one, other)
    counts = (np.searchsorted(np.sort(values), steps, "right") for values in (one, other))
    return np.abs(np.subtract(*counts)).max() / len(one) < 1.95 * np.sqrt(2 / len(one))


def assert_same_law(ours, theirs):
    for column in range(4):
        assert have_one_distribution(ours[:, column], theirs[:, column])
    assert have_one_distribution(ours[:, 2] * ours[:, 3], theirs[:, 2] * theirs[:, 3])
    assert have_one_distribution(ours[:, 3] / ours[:, 2], theirs[:, 3] / theirs[:, 2])


@pytest.mark.parametrize(("height", "width", "area"), SHAPES)
def test_boxes_follow_torchvisions_random_resized_crop(height, width, area):
    ours = sample_boxes(TorchvisionCrop(area, ASPECT), np.full((NUM_IMAGES, 2), (height, width)), seed=0)
    torch.manual_seed(0)
    blank = torch.empty(3, height, width)
    theirs = [RandomResizedCrop.get_params(blank, list(area), list(ASPECT)) for _ in range(NUM_IMAGES)]
    assert_same_law(ours, np.array(theirs))


@pytest.mark.parametrize(("height", "width", "area"), SHAPES)
def test_boxes_of_paddle_follow_its_rand_crop_image(height, width, area):
    ours = sample_boxes(PaddleCrop(area, ASPECT), np.full((NUM_IMAGES, 2), (height, width)), seed=0)
    random = python_random.Random(1)
    assert_same_law(ours, np.array([paddle_box(height, width, area, random) for _ in range(NUM_IMAGES)]))


def test_the_two_laws_differ_by_what_was_measured_of_the_programs():
    def mean_area(law, height, width):
        boxes = sample_boxes(law, np.full((20_000, 2), (height, width)), seed=3)
        return (boxes[:, 2] * boxes[:, 3] / (height * width)).mean(), (boxes[:, 3] / boxes[:, 2]).mean()

    area = (0.08, 1.0)
    assert mean_area(PaddleCrop(area, ASPECT), 256, 256) == pytest.approx((0.468, 1.043), abs=0.006)
    assert mean_area(TorchvisionCrop(area, ASPECT), 256, 256) == pytest.approx((0.478, 1.013), abs=0.006)
    assert mean_area(PaddleCrop(area, ASPECT), 300, 200)[0] == pytest.approx(0.365, abs=0.006)
    assert mean_area(TorchvisionCrop(area, ASPECT), 300, 200)[0] == pytest.approx(0.391, abs=0.006)


@pytest.mark.parametrize("law", [TorchvisionCrop((0.08, 1.0), ASPECT), PaddleCrop((0.08, 1.0), ASPECT)])
def test_a_box_lies_in_its_image_whatever_its_shape(law):
    sizes = np.array([[1, 1], [1, 300], [300, 1], [7, 5], [64, 64]] * 50)
    boxes = sample_boxes(law, sizes, seed=1)
    assert (boxes[:, 2:] >= 1).all()
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= sizes).all()


def test_paddles_recipe_crops_by_paddles_law():
    assert isinstance(crop_law(get_recipe("icartoonface-resnet50")), PaddleCrop)
