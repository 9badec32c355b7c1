"""Random erasing: timm's rectangles and noise, and the same rectangles through a mask, as on a GPU."""

import random

import pytest
import torch
from timm.data.random_erasing import RandomErasing

from trainables.models.erasing import NO_BOX, _fill_at_once, _fill_each, agw_boxes, fill, timm_boxes

SHAPE = (32, 3, 40, 56)


def seed():
    random.seed(5)
    torch.manual_seed(5)


@pytest.mark.parametrize(("mode", "color_C11"), [("pixel", None), ("const", torch.zeros(3, 1, 1))])
def test_erased_batches_are_timms_to_the_bit(mode, color_C11):
    pixels_BCHW = torch.rand(SHAPE)
    seed()
    expected_BCHW = RandomErasing(0.5, mode=mode, max_count=1, device="cpu")(pixels_BCHW.clone())
    seed()
    found_BCHW = fill(pixels_BCHW.clone(), timm_boxes(len(pixels_BCHW), *SHAPE[2:], 0.5), color_C11)
    assert torch.equal(found_BCHW, expected_BCHW)
    assert not torch.equal(found_BCHW, pixels_BCHW)


@pytest.mark.parametrize("boxes_of", [timm_boxes, agw_boxes])
def test_a_mask_fills_the_same_rectangles_as_one_after_the_other(boxes_of):
    pixels_BCHW, color_C11 = torch.rand(SHAPE), torch.tensor([2.0, 3.0, 4.0])[:, None, None]
    boxes = boxes_of(len(pixels_BCHW), *SHAPE[2:], 0.5)
    each_BCHW, at_once_BCHW = pixels_BCHW.clone(), pixels_BCHW.clone()
    _fill_each(each_BCHW, boxes, color_C11)
    _fill_at_once(at_once_BCHW, boxes, color_C11)
    assert torch.equal(at_once_BCHW, each_BCHW)
    assert 0 < boxes.count(NO_BOX) < len(boxes)


def test_the_noise_of_a_mask_is_normal_and_stays_in_its_rectangles():
    pixels_BCHW = torch.full(SHAPE, 9.0)
    boxes = timm_boxes(len(pixels_BCHW), *SHAPE[2:], 1.0)
    _fill_at_once(pixels_BCHW, boxes, None)
    erased = pixels_BCHW[pixels_BCHW != 9]
    assert len(erased) == 3 * sum((bottom - top) * (right - left) for top, bottom, left, right in boxes)
    assert erased.mean().item() == pytest.approx(0, abs=0.02)
    assert erased.std().item() == pytest.approx(1, abs=0.02)
