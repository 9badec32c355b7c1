"""AGW's model: strides, non-local blocks, IBN, pooling and neck, against the formulas restated.

B batch, C channels, H W places of the map.
"""

import dataclasses
import math

import numpy as np
import pytest
import timm
import torch

from trainables.models import build_model
from trainables.models.conv import InstanceBatchNorm
from trainables.models.conv_backbone import Average, GeM
from trainables.models.erasing import AGW_AREA, AGW_ASPECT, agw_boxes, fill
from trainables.models.input_step import COLORS
from trainables.models.non_local import NonLocal
from trainables.recipes import RECIPES, get_recipe
from trainables.recipes.settings import override

ROWS = [recipe for recipe in RECIPES.values() if recipe.table == "LSASRD Table 4"]


def tiny(name="agw-resnet50-tiny", **values):
    return override(get_recipe(name), {"image_size": 32, **values})


def images_of(size=32, num_images=4):
    draw = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (num_images, size, size, 3), dtype=torch.uint8, generator=draw)


def test_gem_is_the_mean_of_the_powers_place_by_place():
    map_BCHW = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    pooling = GeM()
    with torch.no_grad():
        pooling.p.fill_(2.5)
    for image in range(2):
        for channel in range(3):
            values = [max(value, 1e-6) for value in map_BCHW[image, channel].flatten().tolist()]
            expected = (sum(value**2.5 for value in values) / 20) ** (1 / 2.5)
            assert pooling(map_BCHW)[image, channel].item() == pytest.approx(expected, rel=1e-4)
    assert GeM().p.tolist() == [3.0]


def test_average_pooling_is_gem_of_power_1_on_positive_maps():
    map_BCHW = torch.rand(2, 3, 4, 5) + 0.1
    pooling = GeM()
    with torch.no_grad():
        pooling.p.fill_(1.0)
    torch.testing.assert_close(pooling(map_BCHW), Average()(map_BCHW))


def test_a_non_local_block_is_its_formula_place_by_place():
    torch.manual_seed(0)
    block, map_BCHW = NonLocal(6, 2), torch.randn(2, 6, 3, 4)
    torch.nn.init.normal_(block.W[1].weight)  # fresh ones begin at 0
    block.eval()

    def convolved(conv, place):
        return conv.weight[:, :, 0, 0] @ place + conv.bias

    for image in range(2):
        places = map_BCHW[image].flatten(1).T
        for number, place in enumerate(places):
            theta = convolved(block.theta, place)
            mixed = sum(
                (theta @ convolved(block.phi, other)) / len(places) * convolved(block.g, other) for other in places
            )
            looked = convolved(block.W[0], mixed) / math.sqrt(1 + 1e-5) * block.W[1].weight  # fresh statistics
            expected = looked + place
            found = block(map_BCHW)[image].flatten(1).T[number]
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_fresh_non_local_block_changes_nothing():
    map_BCHW = torch.randn(2, 6, 3, 4)
    torch.testing.assert_close(NonLocal(6, 2).eval()(map_BCHW), map_BCHW)


@pytest.mark.parametrize("channels", [6, 7])
def test_ibn_normalizes_half_of_the_channels_per_image_and_the_rest_per_batch(channels):
    torch.manual_seed(0)
    norm, map_BCHW = InstanceBatchNorm(channels).train(), torch.randn(3, channels, 4, 5) * 2 + 1
    found = norm(map_BCHW)
    for channel in range(channels):
        for image in range(3):
            of_image = channel < channels // 2
            values = map_BCHW[image, channel] if of_image else map_BCHW[:, channel]
            expected = (map_BCHW[image, channel] - values.mean()) / (values.var(unbiased=False) + 1e-5).sqrt()
            torch.testing.assert_close(found[image, channel], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.integration
@pytest.mark.parametrize("recipe", ROWS, ids=lambda recipe: recipe.row)
def test_a_row_of_the_paper_has_a_map_of_16_x_16_and_a_feature_of_2048(recipe):
    with torch.device("meta"):
        model = build_model(dataclasses.replace(recipe, pretrained=False), 152)
    assert (model.num_tokens, model.num_features) == (256, 2048)


def test_the_last_stage_keeps_its_size_without_dilation_whatever_the_blocks():
    for name in ("agw-resnet50-tiny", "agw-tiny", "agw-se-resnet50-tiny"):
        fine, coarse = (build_model(tiny(name, last_stride=stride), 3) for stride in ("1", "2"))
        assert fine.num_tokens == 4 * coarse.num_tokens == 4
        convolutions = [module for module in fine.modules() if isinstance(module, torch.nn.Conv2d)]
        assert {module.dilation for module in convolutions} == {(1, 1)}


def test_only_the_last_stages_stride_differs_from_timms_network():
    recipe = tiny(last_stride="2")
    model = build_model(recipe, 3).eval()
    plain = timm.create_model("resnet50", layers=(1, 1, 1, 1), channels=(16, 32, 64, 128), num_classes=0).eval()
    plain.load_state_dict(model.backbone.network.state_dict())
    pixels_BCHW = model.backbone.input_step(images_of())
    without_relu = torch.nn.Identity(), plain.act1
    for act1, stem_relu in zip(without_relu, (False, True), strict=True):
        plain.act1 = act1
        own = build_model(dataclasses.replace(recipe, stem_relu=stem_relu, pooling="avg"), 3).eval()
        own.load_state_dict({key: value for key, value in model.state_dict().items() if key != "backbone.pooling.p"})
        torch.testing.assert_close(own.backbone(images_of())["branches"][:, 0], plain(pixels_BCHW))


def test_five_non_local_blocks_stand_where_agw_has_them():
    with torch.device("meta"):
        network = build_model(dataclasses.replace(get_recipe("agw-resnet50-nl"), pretrained=False), 3).backbone.network
        narrow = build_model(get_recipe("agw-resnet50-nl-upstream-tiny"), 3).backbone.network
    inside = {"layer2": ("23", 512 // 16), "layer3": ("345", 1024 // 16)}
    for stage, (places, channels) in inside.items():
        blocks = getattr(network, stage).non_local
        assert "".join(blocks) == places
        assert {block.theta.out_channels for block in blocks.values()} == {channels}
    assert narrow.layer3.non_local["0"].theta.out_channels == 1


def test_the_test_feature_is_after_the_neck_and_of_length_1():
    model = build_model(tiny(), 3)
    model.train()(images_of())  # statistics that are not fresh
    model.eval()
    (feature_BD,) = model(images_of()).features
    necked_BD = model.head.necks[0](feature_BD)
    torch.testing.assert_close(model.embed(images_of()), necked_BD / necked_BD.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("name", [f"{recipe.name}-tiny" for recipe in ROWS] + ["agw-resnet50-nl-upstream-tiny"])
def test_gradients_reach_all_that_trains(name):
    model = build_model(tiny(name), 5).train()
    outputs = model(images_of())
    sum(value.square().sum() for value in (*outputs.logits, *outputs.features)).backward()
    without = {key for key, weight in model.named_parameters() if weight.requires_grad and weight.grad is None}
    assert without == set()


def test_erasing_follows_agws_law():
    np.random.seed(0)
    height, width, number = 40, 60, 3000
    pixels_BCHW = torch.full((number, 3, height, width), 9.0)
    fill(pixels_BCHW, agw_boxes(number, height, width, 0.5), torch.tensor(COLORS["agw"])[:, None, None])
    erased = pixels_BCHW[:, 0] != 9
    untouched = ~erased.flatten(1).any(dim=1)
    assert untouched.float().mean().item() == pytest.approx(0.5, abs=0.04)
    areas, ratios = [], []
    for mask_HW in erased[~untouched]:
        rows, columns = int(mask_HW.any(dim=1).sum()), int(mask_HW.any(dim=0).sum())
        assert int(mask_HW.sum()) == rows * columns  # one full rectangle
        assert rows < height
        assert columns < width
        areas.append(rows * columns / (height * width))
        ratios.append(rows / columns)
    assert AGW_AREA[0] - 0.01 <= min(areas) < 0.03
    assert 0.38 < max(areas) <= AGW_AREA[1] + 0.01
    # those that fit are fewer among the tall ones; in between the ratio is uniform, not log-uniform
    assert AGW_ASPECT[0] - 0.05 < min(ratios)
    inner = [ratio for ratio in ratios if 0.4 < ratio < 1.2]
    assert np.mean(inner) == pytest.approx(0.8, abs=0.03)
    assert torch.equal(
        pixels_BCHW[~untouched][erased[~untouched][:, None].expand(-1, 3, -1, -1)].unique(),
        torch.tensor(COLORS["agw"]).sort().values,
    )
