"""The input step: normalization in both modes, erasing in training alone."""

import random

import pytest
import torch

from trainables.models.input_step import InputStep


def test_pixels_are_normalized_channel_by_channel(small_recipe):
    recipe = small_recipe(pixel_mean=(0.5, 0.25, 0.0), pixel_std=(0.5, 1.0, 0.1))
    images_BHWC = torch.randint(0, 256, (2, 4, 5, 3), dtype=torch.uint8)
    pixels_BCHW = InputStep(recipe).eval()(images_BHWC)
    assert pixels_BCHW.shape == (2, 3, 4, 5)
    for channel, (mean, std) in enumerate(((0.5, 0.5), (0.25, 1.0), (0.0, 0.1))):
        expected_BHW = (images_BHWC[..., channel] / 255 - mean) / std
        torch.testing.assert_close(pixels_BCHW[:, channel], expected_BHW)


def test_one_rectangle_is_erased_in_training_and_none_in_evaluation(small_recipe):
    random.seed(0)
    step = InputStep(small_recipe(erase_probability=1.0))
    images_BHWC = torch.full((8, 24, 24, 3), 255, dtype=torch.uint8)
    assert (step.eval()(images_BHWC) == 1).all()
    erased_BHW = (step.train()(images_BHWC) != 1).any(dim=1)
    for mask_HW in erased_BHW:
        rows, columns = mask_HW.any(dim=1).sum(), mask_HW.any(dim=0).sum()
        assert mask_HW.sum() == rows * columns  # a full rectangle
        assert 0.01 < mask_HW.float().mean() < 0.36


def test_without_erasing_training_pixels_are_the_evaluations(small_recipe):
    step = InputStep(small_recipe(erase_probability=0.0))
    images_BHWC = torch.randint(0, 256, (2, 6, 6, 3), dtype=torch.uint8)
    assert torch.equal(step.train()(images_BHWC), step.eval()(images_BHWC))


def test_a_constant_rectangle_has_the_mean_color_and_a_pixel_one_noise(small_recipe):
    images_BHWC = torch.full((8, 24, 24, 3), 255, dtype=torch.uint8)
    for fill, constant in (("constant", True), ("pixel", False)):
        random.seed(0)
        pixels_BCHW = InputStep(small_recipe(erase_probability=1.0, erase_fill=fill)).train()(images_BHWC)
        erased = pixels_BCHW[pixels_BCHW != 1]
        assert bool((erased == 0).all()) == constant
        assert len(erased) > 100


def test_memory_is_used_again_while_training_and_no_gradient_goes_through_what_was_written_over(small_recipe):
    step = InputStep(small_recipe(erase_probability=0.0)).train()
    weight = torch.ones(1, 3, 1, 1, requires_grad=True)
    first = step(torch.zeros((2, 6, 6, 3), dtype=torch.uint8))
    loss = torch.nn.functional.conv2d(first, weight).sum()
    second = step(torch.full((2, 6, 6, 3), 255, dtype=torch.uint8))
    assert second.data_ptr() == first.data_ptr()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    kept = step.eval()(torch.zeros((2, 6, 6, 3), dtype=torch.uint8))
    assert kept.data_ptr() != second.data_ptr()
