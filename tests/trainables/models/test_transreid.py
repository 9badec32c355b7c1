"""TransReID's model: tokens, branches, shuffle, heads and test feature, against timm and the formulas restated.

B batch, T tokens, D width.
"""

import dataclasses

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from shards_tools.errors import Error
from trainables.models import build_model
from trainables.models.branch import ClassTokenBranch
from trainables.models.model import Model
from trainables.models.transreid import in_gray, shuffle_patches
from trainables.recipes import RECIPES, get_recipe
from trainables.recipes.backbones import BACKBONES

NUM_WORKS = 5


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (6, 24, 24, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def restated_shuffle(tokens: list[int], shift: int, groups: int) -> list[int]:
    """The tokens' order after the shuffle, from its description; token 0 is the class token."""
    patches = tokens[shift:] + tokens[1:shift]
    if len(patches) % groups:
        patches = [*patches, patches[-2]]
    size = len(patches) // groups
    dealt = []
    for place in range(size):
        for group in range(groups):
            dealt.append(patches[group * size + place])
    return dealt


@pytest.mark.parametrize(
    ("num_patches", "shift", "groups"), [(256, 5, 2), (441, 5, 2), (36, 8, 4), (9, 1, 2), (9, 3, 1)]
)
def test_the_shuffle_is_the_papers(num_patches, shift, groups):
    tokens = list(range(num_patches + 1))
    tokens_BTD = torch.tensor(tokens, dtype=torch.float).view(1, -1, 1).repeat(2, 1, 3)
    shuffled_BTD = shuffle_patches(tokens_BTD, shift, groups)
    assert shuffled_BTD[1, :, 2].tolist() == restated_shuffle(tokens, shift, groups)


def test_a_shift_of_5_moves_the_first_4_patches_to_the_end_and_deals_two_groups():
    order = shuffle_patches(torch.arange(13.0).view(1, 13, 1), 5, 2).flatten().tolist()
    assert order == [5, 11, 6, 12, 7, 1, 8, 2, 9, 3, 10, 4]


def test_with_an_odd_number_of_patches_the_one_before_the_last_is_doubled():
    order = shuffle_patches(torch.arange(10.0).view(1, 10, 1), 5, 2).flatten().tolist()
    assert sorted(order) == [1, 2, 3, 3, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("jpm", [False, True])
def test_a_model_gives_logits_and_features_of_each_branch_and_one_test_feature(small_recipe, images, jpm):
    model = build_model(small_recipe(jpm=jpm, stride_px=4), NUM_WORKS)
    branches = 5 if jpm else 1
    outputs = model.train()(images)
    assert [tuple(logits.shape) for logits in outputs.logits] == [(6, NUM_WORKS)] * branches
    assert [tuple(features.shape) for features in outputs.features] == [(6, 64)] * branches
    assert torch.equal(model.eval().classify(images), model(images).logits[0])
    features_BD = model.embed(images)
    assert features_BD.shape == (6, 64 * branches) == (6, model.num_features)
    torch.testing.assert_close(features_BD.norm(dim=1), torch.ones(6))


@pytest.mark.parametrize("name", ["transreid-tiny", "transreid-vit-base-tiny", "transreid-vit-stride-tiny"])
def test_gradients_reach_all_that_trains_and_the_neck_s_bias_stays_0(name, images):
    model = build_model(dataclasses.replace(RECIPES[name], image_size=24), NUM_WORKS).train()
    outputs = model(images)
    sum(value.square().sum() for value in (*outputs.logits, *outputs.features)).backward()
    untrained = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    assert untrained == {f"head.necks.{branch}.bias" for branch in range(len(model.head.necks))}
    for name, weight in model.named_parameters():
        if name in untrained:
            assert not weight.any()
        else:
            assert weight.grad is not None
            assert weight.grad.any(), name


def as_plain_vit(model: Model, recipe) -> VisionTransformer:
    """timm's own transformer with the weights of the model's trunk and global branch."""
    shape = BACKBONES[recipe.backbone]
    size = {"img_size": tuple(recipe.size), "patch_size": shape.patch_px, "num_classes": 0}
    vit = VisionTransformer(**size, embed_dim=shape.width, depth=shape.depth, num_heads=shape.num_heads)
    weights = {}
    for name, tensor in model.backbone.state_dict().items():
        name = name.replace("trunk.", "blocks.").replace("global_branch.norm.", "norm.")
        name = name.replace("global_branch.block.", f"blocks.{shape.depth - 1}.")
        if not name.startswith("local_branch."):
            weights[name] = tensor
    vit.load_state_dict(weights)
    return vit.eval()


def branches_of(model: Model, images: torch.Tensor) -> list[torch.Tensor]:
    return list(model.backbone(images)["branches"].unbind(1))


@pytest.mark.parametrize("image_size", [24, "24x16", "16x24"])
def test_the_global_feature_is_timms_class_token(small_recipe, images, image_size):
    recipe = small_recipe(stride_px=8, image_size=image_size)
    images = images[:, : recipe.size.height, : recipe.size.width]
    model = build_model(recipe, NUM_WORKS).eval()
    pixels_BCHW = (images.float() / 255 - 0.5).permute(0, 3, 1, 2) / 0.5
    expected_BD = as_plain_vit(model, recipe).forward_features(pixels_BCHW)[:, 0]
    torch.testing.assert_close(branches_of(model, images)[0], expected_BD, rtol=1e-4, atol=1e-5)


def test_the_local_features_are_the_whole_shared_block_over_each_quarter(small_recipe, images):
    recipe = small_recipe(jpm=True, stride_px=4)  # 5 x 5 patches: an odd number, of which parts of 6 are taken
    model = build_model(recipe, NUM_WORKS).eval()
    backbone = model.backbone
    with torch.no_grad():
        for weight in backbone.local_branch.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    patches_BTD = backbone.patch_embed(backbone.input_step(images))
    cls_BTD = backbone.cls_token.expand(6, -1, -1)
    tokens_BTD = backbone.trunk(torch.cat([cls_BTD, patches_BTD], 1) + backbone.pos_embed)
    order = restated_shuffle(list(range(26)), 5, 2)
    features = branches_of(model, images)
    for part in range(4):
        chosen = [0, *order[part * 6 : part * 6 + 6]]
        whole_BTD = backbone.local_branch.norm(backbone.local_branch.block(tokens_BTD[:, chosen]))
        torch.testing.assert_close(features[1 + part], whole_BTD[:, 0], rtol=1e-4, atol=1e-5)


def test_the_test_feature_is_before_batch_norm_with_the_local_parts_divided(small_recipe, images):
    model = build_model(small_recipe(jpm=True, stride_px=4), NUM_WORKS).eval()
    first, *local = branches_of(model, images)
    joined_BD = torch.cat([first, *(feature / 4 for feature in local)], dim=1)
    torch.testing.assert_close(model.embed(images), joined_BD / joined_BD.norm(dim=1, keepdim=True))


def test_the_branches_start_equal_and_do_not_share_weights(small_recipe):
    backbone = build_model(small_recipe(jpm=True), NUM_WORKS).backbone
    ours, theirs = dict(backbone.global_branch.named_parameters()), dict(backbone.local_branch.named_parameters())
    for name, weight in ours.items():
        assert torch.equal(weight, theirs[name])
        assert weight is not theirs[name]


def test_drop_path_grows_linearly_to_the_recipes(small_recipe):
    backbone = build_model(small_recipe(drop_path=0.2), NUM_WORKS).backbone
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in (*backbone.trunk, backbone.global_branch.block)]
    assert rates == pytest.approx([0, 0.1, 0.2])


def test_the_neck_is_the_bnneck_of_the_papers(small_recipe):
    classifier = build_model(small_recipe(), 500).head.classifiers[0]
    assert classifier.bias is None
    assert classifier.weight.std().item() == pytest.approx(0.001, rel=0.05)


@pytest.mark.integration
def test_one_image_goes_through_the_papers_largest_model():
    recipe = dataclasses.replace(get_recipe("transreid-vit-stride"), pretrained=False)
    model = build_model(recipe, 3).eval()
    assert model.backbone.patch_embed.grid_size == (21, 21)
    with torch.inference_mode():
        assert model.embed(torch.zeros(1, 256, 256, 3, dtype=torch.uint8)).shape == (1, 3840)


def test_side_information_is_added_to_every_token_by_what_the_image_is_drawn_with(small_recipe):
    torch.manual_seed(0)
    with_sides = build_model(small_recipe(sie_weight=3.0), NUM_WORKS).eval()
    without = build_model(small_recipe(), NUM_WORKS).eval()
    without.load_state_dict({key: v for key, v in with_sides.state_dict().items() if "side_information" not in key})
    colored = torch.randint(0, 256, (2, 24, 24, 3), dtype=torch.uint8)
    gray = colored[..., :1].expand(-1, -1, -1, 3).contiguous()
    assert in_gray(torch.cat([colored, gray])).tolist() == [False, False, True, True]
    for images, side in ((colored, 0), (gray, 1)):
        backbone = without.backbone
        positions = backbone.pos_embed.data.clone()
        backbone.pos_embed.data += 3.0 * with_sides.backbone.side_information.embedding[side]
        torch.testing.assert_close(with_sides.embed(images), without.embed(images))
        backbone.pos_embed.data = positions


def test_upstreams_small_transformer_scales_its_attention_by_all_channels():
    recipe = dataclasses.replace(get_recipe("transreid-vit-small-tiny"), drop_path=0.0)
    backbone = build_model(recipe, NUM_WORKS).backbone.eval()
    block, tokens_BTD = backbone.trunk[0], torch.randn(2, 5, 96, generator=torch.Generator().manual_seed(0))
    assert block.attn.qkv.bias is None
    assert block.mlp.fc1.out_features == 3 * 96
    query, key, value = block.attn.qkv(tokens_BTD).view(2, 5, 3, 3, 32).permute(2, 0, 3, 1, 4)
    mixed = torch.softmax(query @ key.transpose(-2, -1) * 96**-0.5, dim=-1) @ value
    expected = block.attn.proj(mixed.transpose(1, 2).reshape(2, 5, 96))
    torch.testing.assert_close(block.attn(tokens_BTD), expected, rtol=1e-4, atol=1e-5)
    whole = block(tokens_BTD)
    last = ClassTokenBranch(block, torch.nn.Identity())
    torch.testing.assert_close(last(tokens_BTD), whole[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("id_loss", ["arcface", "cosface", "circle"])
def test_margins_with_jpm_are_refused_by_name(small_recipe, id_loss):
    small_recipe(id_loss=id_loss, jpm=False)
    with pytest.raises(Error, match=f"id_loss='{id_loss}' cannot be combined with jpm=true"):
        small_recipe(id_loss=id_loss, jpm=True)
