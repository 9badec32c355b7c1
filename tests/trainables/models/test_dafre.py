"""DAF:re's classifiers: the shallow network, resized positions, the frozen rule and the mode that is never left.

B batch, D width, C channels, H W pixels.
"""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom
from torch import nn
from torch.nn import functional

from shards_tools.errors import Error
from trainables.device import Device
from trainables.models import build_model
from trainables.models.initial import init_vit_as_animesion
from trainables.models.vit import build_vit, set_stride
from trainables.recipes import RECIPES, get_recipe
from trainables.recipes.images import Size
from trainables.recipes.settings import override
from trainables.training.loop import train_one_epoch
from trainables.training.train_state import prepare

PIXELS = torch.randint(0, 256, (4, 48, 48, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def plain_vit(backbone, image_size):
    recipe = override(get_recipe("animesion-tiny"), {"backbone": backbone, "image_size": image_size})
    return build_vit(recipe, init_vit_as_animesion, stride_px=8)


def test_the_rows_are_trained_as_their_code_does():
    row = get_recipe("dafre-128-l16-pretrained")
    assert (row.optimizer, row.lr, row.momentum, row.weight_decay, row.batch_size) == ("sgd", 1e-3, 0.9, 0.0, 64)
    assert (row.epochs, row.milestones, row.train_mode_epochs) == (50, (20, 40), 1)
    assert row.lr_fall == pytest.approx(1 / 3)
    assert (row.image_size, row.enlarge_px, row.pad_px, row.flip_probability) == (128, 32, 0, 0.5)
    assert {row.jitter_brightness, row.jitter_contrast, row.jitter_saturation, row.jitter_hue} == {0.1}
    large = get_recipe("moeimouto-224-b32")
    assert (large.epochs, large.milestones, large.batch_size) == (200, (50, 100, 150), 1024)
    frozen = {recipe.row for recipe in RECIPES.values() if recipe.frozen_backbone and recipe.table == "DAF:re Table 1"}
    assert frozen == {"R-18, pretrained", "R-152, pretrained"}
    mended = get_recipe("dafre-128-r18-pretrained-upstream")
    assert (mended.frozen_backbone, mended.train_mode_epochs) == (False, None)


def test_the_shallow_network_is_two_convolutions_and_two_linear_layers_as_long_as_the_paper_says():
    with torch.device("meta"):
        model = build_model(get_recipe("dafre-224-sn"), 3263)
    first = model.backbone.linear[0]
    assert (first.in_features, first.out_features) == (89_888, 512)
    assert first.weight.numel() / 1e6 == pytest.approx(46.0, abs=0.05)
    assert model.head.classifiers[0].out_features == 3263
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert [(conv.out_channels, conv.kernel_size, conv.padding) for conv in convolutions] == [
        (16, (5, 5), (0, 0)),
        (32, (5, 5), (0, 0)),
    ]


def test_the_shallow_network_is_its_layers_one_after_the_other():
    model = build_model(get_recipe("dafre-224-sn-tiny"), 3).eval()
    value = model.backbone.input_step(PIXELS)
    for stage in model.backbone.convolutions:
        conv, norm = stage[0], stage[1]
        value = functional.conv2d(value, conv.weight, conv.bias)
        value = (value - norm.running_mean[:, None, None]) / (norm.running_var + 1e-5).sqrt()[:, None, None]
        value = functional.max_pool2d(functional.relu(value), 2)
    linear = model.backbone.linear[0]
    feature_BD = functional.relu(value.flatten(1) @ linear.weight.T + linear.bias)
    torch.testing.assert_close(model.backbone(PIXELS)["branches"][:, 0], feature_BD, rtol=1e-4, atol=1e-5)
    classifier = model.head.classifiers[0]
    expected_BN = feature_BD @ classifier.weight.T + classifier.bias
    torch.testing.assert_close(model.classify(PIXELS), expected_BN, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("grid", [(8, 8), (14, 14), (21, 21), (16, 8)])
def test_positions_are_resized_as_scipys_zoom_of_order_1_does(grid):
    vit = plain_vit("vit_96x2", 112)  # 14 x 14
    before = vit.pos_embed.detach().clone()
    set_stride(vit, Size(8 * grid[0], 8 * grid[1]), 8, corner_aligned=True)
    square = before[0, 1:].view(14, 14, 96).numpy()
    expected = zoom(square, (grid[0] / 14, grid[1] / 14, 1), order=1)
    np.testing.assert_allclose(vit.pos_embed[0, 1:].detach().view(*grid, 96).numpy(), expected, atol=1e-5)
    assert torch.equal(vit.pos_embed[:, :1], before[:, :1])


def test_fresh_weights_are_xaviers_and_a_transformers_classifier_begins_at_0():
    model = build_model(get_recipe("dafre-128-b16-tiny"), 3)
    block = model.backbone.blocks[0]
    limit = math.sqrt(6 / (96 + 4 * 96))
    assert block.mlp.fc1.weight.abs().max().item() == pytest.approx(limit, rel=0.01)
    of_three = math.sqrt(6 / (96 + 96))  # query, key and value are drawn as three layers
    assert block.attn.qkv.weight.abs().max().item() == pytest.approx(of_three, rel=0.01)
    assert 0 < block.mlp.fc1.bias.abs().max() < 1e-5
    assert not model.head.classifiers[0].weight.any()
    assert build_model(get_recipe("dafre-128-r18-tiny"), 3).head.classifiers[0].weight.any()


def test_a_transformers_feature_is_the_normed_class_token_of_timms():
    model = build_model(get_recipe("dafre-128-b16-tiny"), 3).eval()
    backbone = model.backbone
    vit = plain_vit("vit_96x4", 48)
    vit.load_state_dict({key: value for key, value in backbone.state_dict().items()})
    for norm in vit.modules():
        if isinstance(norm, nn.LayerNorm):
            norm.eps = 1e-6
    expected_BD = vit.eval().forward_features(backbone.input_step(PIXELS))[:, 0]
    torch.testing.assert_close(backbone(PIXELS)["branches"][:, 0], expected_BD)


def small(name, **values):
    return override(get_recipe(name), {"image_size": 24, "enlarge_px": 2, "images_per_epoch": None, **values})


def test_after_the_first_epoch_dropout_and_batch_statistics_stand_still(manifest):
    recipe = small("dafre-128-r18-tiny", batch_size=16, epochs=3)
    training = prepare(recipe, manifest, fold=0, seed=0, device=Device("cpu"))
    statistics = training.model.backbone.network.bn1.running_mean

    def after(epoch):
        train_one_epoch(training, epoch)
        return statistics.clone(), training.model.training

    (first, in_mode_1), (second, in_mode_2), (third, in_mode_3) = after(1), after(2), after(3)
    assert (in_mode_1, in_mode_2, in_mode_3) == (True, False, False)
    assert first.any()
    assert torch.equal(first, second)
    assert torch.equal(second, third)
    mended = dataclasses.replace(recipe, train_mode_epochs=None)
    training = prepare(mended, manifest, fold=0, seed=0, device=Device("cpu"))
    statistics = training.model.backbone.network.bn1.running_mean
    assert not torch.equal(after(1)[0], after(2)[0])


def test_a_batch_keeps_its_size_where_there_are_fewer_classes(manifest):
    recipe = small("dafre-128-r18-tiny", batch_size=32)
    assert recipe.batch_shape(5, 1000) == (32, 1)
    training = prepare(recipe, manifest, fold=0, seed=0, device=Device("cpu"))
    assert len(training.works) == 8  # of fold 0
    _, num_images = train_one_epoch(training, 1)
    assert num_images == 160  # 8 works x 5 roles x 4 images, five whole batches


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"backbone": "dinov2_tiny"}, "backbone='dinov2_tiny' .* a residual network, a vision transformer or shallow"),
        ({"batch_sampler": "full"}, "batch_sampler='full' .* must be shuffle or balanced"),
        ({"dropout": 1.0}, "dropout=1.0 .* below 1"),
        ({"batch_size": 0}, "batch_size=0 .* above 0"),
        ({"images_per_epoch": 3}, "images_per_epoch=3 .* one batch of 64"),
    ],
)
def test_a_value_that_does_not_do_is_named(values, message):
    with pytest.raises(Error, match=message):
        override(get_recipe("dafre-tiny"), values)
