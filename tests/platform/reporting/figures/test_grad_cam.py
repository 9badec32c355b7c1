"""Grad-CAM++ shows what is known of networks made by hand, and has a map of every network of our recipes."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from platform.reporting.figures.answers import Answers, Rankings
from platform.reporting.figures.grad_cam import (
    CosineTo,
    LogitOf,
    attention,
    grad_cam,
    last_map,
    patches_as_map,
    plot_grad_cam,
)
from trainables.models import build_model
from trainables.recipes import get_recipe
from trainables.recipes.settings import override


class Colors(nn.Module):
    """Two channels, red and green; the logit of each is the sum over its places."""

    def __init__(self) -> None:
        super().__init__()
        self.channels = nn.Conv2d(3, 2, 1, bias=False)
        with torch.no_grad():
            self.channels.weight[:] = torch.eye(3)[:2, :, None, None] / 255

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """The logits."""
        logits_BC: Tensor = self.channels(images_BCHW.float()).sum(dim=(2, 3))
        return logits_BC


def test_a_network_that_sums_red_looks_at_red() -> None:
    images = torch.randint(0, 256, (2, 6, 6, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    network = Colors()
    maps = grad_cam(network, network.channels, None, images, [LogitOf(0), LogitOf(1)])
    for image, channel, found in zip(images.numpy(), (0, 1), maps, strict=True):
        seen = image[..., channel].astype(float)
        np.testing.assert_allclose(found, (seen - seen.min()) / (seen.max() - seen.min()), atol=1e-5)


def test_patches_lie_row_by_row_between_class_token_and_words() -> None:
    tokens = torch.arange(1 + 2 * 3 + 4).float().reshape(1, -1, 1)
    assert patches_as_map((2, 3), 1)(tokens).tolist() == [[[[1, 2, 3], [4, 5, 6]]]]


def test_a_cosine_is_that_of_two_features() -> None:
    one, other = torch.tensor([0.6, 0.8]), torch.tensor([1.0, 0.0])
    assert CosineTo(other)(one) == pytest.approx(64 * 0.6)


def test_a_transformer_that_ranks_has_maps_of_its_images_size(rankings: Rankings) -> None:
    seen = attention(rankings)
    size = rankings.asked.info.recipe.image_size
    assert seen.maps_nHW.shape == (6, size, size)
    assert seen.maps_nHW.min() >= 0
    assert seen.maps_nHW.max() == pytest.approx(1, abs=0.01)
    assert set(seen.images_n) <= set(rankings.queries_Q)


def test_a_network_of_convolutions_that_names_has_maps_of_its_images_size(names: Answers) -> None:
    figure = plot_grad_cam(names)
    assert attention(names).maps_nHW.shape == (6, 32, 32)
    manifest = names.asked.evaluation.manifest
    named = {
        manifest.keys[image]: names.named(work) for image, work in zip(names.queries_Q, names.answered_Q, strict=True)
    }
    assert all(named[key] == answer for key, answer, *_ in figure.rows)


def test_as_many_right_answers_as_wrong_ones_are_looked_at(rankings: Rankings) -> None:
    right = rankings.is_right_Q[attention(rankings).queries_n]
    assert right.tolist() == [True] * 3 + [False] * 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "settings"),
    [
        ("transreid-tiny", {"jpm": True, "stride_px": 5}),
        ("agw-tiny", {}),
        ("agw-tiny", {"backbone": "legacy_seresnet_tiny"}),
        ("dafre-tiny", {"backbone": "vit_64x2"}),
        ("dafre-tiny", {"backbone": "shallownet_64"}),
        ("animesion-tiny", {}),
        ("icartoonface-tiny", {}),
        *(("open-tiny", {"backbone": name}) for name in ("dinov2_tiny", "dinov3_tiny", "siglip2_tiny", "eva02_tiny")),
        *(("open-tiny", {"backbone": name}) for name in ("wd_vit_tiny", "convnext_tiny")),
    ],
    ids=str,
)
def test_every_network_has_a_map(recipe: str, settings: dict[str, object]) -> None:
    torch.manual_seed(0)
    chosen = override(get_recipe(recipe), settings)
    model = build_model(chosen, 4).eval()
    model.backbone.requires_grad_(False)  # as a frozen one
    size = chosen.image_size
    images = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8)
    feature = torch.nn.functional.normalize(torch.randn(model.num_features), dim=0)

    class Embedding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, images_BCHW: Tensor) -> Tensor:
            return model.embed(images_BCHW.permute(0, 2, 3, 1))

    maps = grad_cam(Embedding(), *last_map(model, images), images, [CosineTo(feature)] * 2)
    assert maps.shape == (2, size, size)
    assert np.isfinite(maps).all()
    assert (np.ptp(maps, axis=(1, 2)) > 0.5).any()
