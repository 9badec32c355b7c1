"""Grids of position embeddings, found by their number, and resized as other libraries do."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch.nn import functional

from shards_tools.errors import Error
from trainables.models.positions import fit_positions, grid_of, resize_as_timm, resize_bilinear


def places(height, width, patch, stride):
    return (height - patch) // stride + 1, (width - patch) // stride + 1


@pytest.mark.parametrize(
    ("height", "width", "patch", "stride"),
    [
        (224, 224, 16, 16),
        (384, 384, 16, 16),
        (256, 256, 16, 12),
        (256, 128, 16, 16),
        (256, 128, 16, 12),
        (256, 128, 16, 14),
        (256, 128, 14, 14),
        (384, 128, 16, 16),
        (384, 128, 16, 12),
        (384, 192, 16, 16),
        (224, 112, 16, 16),
    ],
)
def test_the_usual_image_sizes_are_found_by_the_number_of_their_places(height, width, patch, stride):
    rows, columns = places(height, width, patch, stride)
    assert grid_of(rows * columns) == (rows, columns)


@pytest.mark.parametrize("number", [-1, 0, 5, 17, 197])
def test_numbers_without_a_grid_have_none(number):
    assert grid_of(number) is None


@pytest.mark.parametrize("corner_aligned", [False, True])
def test_an_upright_grid_is_resized_row_by_row_and_prefix_tokens_are_kept(corner_aligned):
    positions = torch.randn(1, 1 + 16 * 8, 5)
    resized = resize_bilinear(positions, (16, 8), (6, 6), corner_aligned=corner_aligned)
    image = positions[0, 1:].T.reshape(1, 5, 16, 8)
    expected = functional.interpolate(image, (6, 6), mode="bilinear", align_corners=corner_aligned)
    assert torch.equal(resized[:, :1], positions[:, :1])
    for row in range(6):
        for column in range(6):
            torch.testing.assert_close(resized[0, 1 + 6 * row + column], expected[0, :, row, column])


@pytest.mark.parametrize("num_prefix", [0, 1, 5])
def test_timms_resizing_keeps_prefix_tokens_and_a_constant_map(num_prefix):
    positions = torch.cat([torch.randn(1, num_prefix, 3), torch.full((1, 16 * 8, 3), 2.0)], dim=1)
    resized = resize_as_timm(positions, (16, 8), (4, 4))
    assert torch.equal(resized[:, :num_prefix], positions[:, :num_prefix])
    torch.testing.assert_close(resized[:, num_prefix:], torch.full((1, 16, 3), 2.0))


@pytest.mark.parametrize(
    ("stored", "grid"),
    [(None, (4, 4)), ((4, 4), (4, 4)), ((2, 8), (2, 8)), ((3, 5), (4, 4))],
)
def test_as_many_positions_in_another_grid_are_resized(stored, grid):
    network = VisionTransformer(img_size=(64, 16), patch_size=8, embed_dim=3, depth=1, num_heads=1)  # 8 x 2
    states = {"pos_embed": torch.randn(1, 17, 3), "cls_token": torch.zeros(1, 1, 3)}
    fitted, text = fit_positions(states, network, resize_as_timm, stored)
    assert torch.equal(fitted["pos_embed"], resize_as_timm(states["pos_embed"], grid, (8, 2)))
    assert not torch.equal(fitted["pos_embed"], states["pos_embed"])
    assert text == f"pos_embed from {grid[0]} x {grid[1]} to 8 x 2"
    assert fit_positions(states, network, resize_as_timm, (8, 2)) == (states, "")


def test_positions_that_form_no_square_are_those_of_a_network_with_as_many():
    network = VisionTransformer(img_size=(80, 56), patch_size=8, embed_dim=3, depth=1, num_heads=1)  # 10 x 7
    states = {"pos_embed": torch.randn(1, 71, 3), "cls_token": torch.zeros(1, 1, 3)}
    assert fit_positions(states, network, resize_as_timm) == (states, "")


def test_positions_of_the_networks_own_size_are_untouched():
    network = VisionTransformer(img_size=32, patch_size=8, embed_dim=3, depth=1, num_heads=1)
    states = {"pos_embed": torch.randn(1, 17, 3)}
    assert fit_positions(states, network, resize_as_timm) == (states, "")
    with pytest.raises(Error, match="has no class token"):
        fit_positions({"pos_embed": torch.randn(1, 64, 3)}, network, resize_as_timm)
