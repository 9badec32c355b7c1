"""Crops and flips beside slow loops, and the forms for a batch beside those for single images."""

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from shards_tools.fits import resize
from trainables.data.geometry import crop_and_flip, crop_and_flip_batch, resized_crops, resized_crops_batch
from trainables.recipes.images import Size

PIXELS = np.random.default_rng(0).integers(0, 256, (16, 24, 30, 3), dtype=np.uint8)


def empty(num_images, size):
    return np.empty((num_images, *size, 3), np.uint8)


def test_cropping_and_flipping_move_the_pixels_where_the_parameters_say():
    images_BHWC = PIXELS[:4, :, :24]
    flips, corners = np.array([False, True, False, True]), np.array([[2, 2], [0, 1], [4, 0], [3, 4]])
    cut_BHWC = crop_and_flip(images_BHWC, 2, flips, corners, empty(4, (24, 24)))
    for image in range(4):
        for row in range(24):
            for column in range(24):
                from_row, from_column = row + corners[image, 0] - 2, column + corners[image, 1] - 2
                inside = 0 <= from_row < 24 and 0 <= from_column < 24
                source = images_BHWC[image, :, ::-1] if flips[image] else images_BHWC[image]
                expected = source[from_row, from_column] if inside else [0, 0, 0]
                assert (cut_BHWC[image, row, column] == expected).all()


@pytest.mark.parametrize(
    ("pad_px", "size"), [(0, (24, 30)), (0, (20, 24)), (3, (24, 12)), (10, (24, 24)), (40, (30, 24))]
)
def test_crops_of_a_batch_are_those_of_its_images(pad_px, size):
    random = np.random.default_rng(pad_px)
    highest = np.maximum(2 * pad_px + np.array([24, 30]) - size, 0)
    flips, corners = random.random(16) < 0.5, random.integers(0, highest + 1, (16, 2))
    one_by_one = crop_and_flip(PIXELS, pad_px, flips, corners, empty(16, size))
    at_once = crop_and_flip_batch(
        torch.from_numpy(PIXELS), pad_px, torch.from_numpy(flips), torch.from_numpy(corners), Size(*size)
    )
    np.testing.assert_array_equal(at_once.numpy(), one_by_one)


def test_a_resized_crop_is_the_box_read_resized_and_mirrored():
    images = [np.random.default_rng(size).integers(0, 256, (size, 2 * size, 3), np.uint8) for size in (20, 33)]
    for image in images:
        image.flags.writeable = False  # as PIL gives them
    boxes, flips = np.array([[2, 3, 10, 12], [0, 5, 33, 40]]), np.array([False, True])
    cut = resized_crops(images, boxes, flips, empty(2, (16, 12)))
    np.testing.assert_array_equal(cut[0], resize(images[0][2:12, 3:15], 16, 12))
    np.testing.assert_array_equal(cut[1], resize(images[1][:, 5:45], 16, 12)[:, ::-1])


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(24, 30, (16, 16)), (64, 64, (48, 24)), (20, 17, (24, 48)), (128, 128, (128, 128))],
)
def test_resized_crops_of_a_batch_differ_by_at_most_one_gray_level(height, width, size):
    random = np.random.default_rng(sum(size))
    images = random.integers(0, 256, (12, height, width, 3), np.uint8)
    images[:4] = 255 * (images[:4] > 127)  # the hardest edges
    extents = np.stack([random.integers(1, height + 1, 12), random.integers(1, width + 1, 12)], axis=1)
    extents[0] = height, width
    corners = random.integers(0, np.array([height, width]) - extents + 1)
    boxes, flips = np.concatenate([corners, extents], axis=1), random.random(12) < 0.5
    one_by_one = resized_crops(images, boxes, flips, empty(12, size))
    on_device = (torch.from_numpy(part) for part in (images, boxes, flips))
    at_once = resized_crops_batch(*on_device, Size(*size))
    differences = at_once.numpy().astype(int) - one_by_one
    assert np.abs(differences).max() <= 1
    assert abs(differences.mean()) < 0.1  # PIL rounds half up twice


def test_no_form_of_a_batch_waits_for_a_gpu_or_mixes_devices():
    # fake tensors refuse .item(), boolean indexing and tensors of two devices
    with FakeTensorMode():
        images_BHWC = torch.empty((4, 24, 24, 3), dtype=torch.uint8, device="cuda")
        flips_B = torch.zeros(4, dtype=torch.bool, device="cuda")
        corners_B2, boxes_B4 = (torch.ones((4, width), dtype=torch.int64, device="cuda") for width in (2, 4))
        cropped = crop_and_flip_batch(images_BHWC, 2, flips_B, corners_B2, Size(20, 10))
        resized = resized_crops_batch(images_BHWC, boxes_B4, flips_B, Size(16, 24))
    for result, size in ((cropped, (20, 10)), (resized, (16, 24))):
        assert result.device.type == "cuda"
        assert result.dtype == torch.uint8
        assert result.shape == (4, *size, 3)
