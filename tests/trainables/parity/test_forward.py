"""The forward pass with equal weights, in float64 and both modes: ours and the restated networks agree to 1e-10."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.trainables.parity.our_names import as_restated, rules_of
from tests.trainables.parity.pairs import Pair, images_of, make_pair, outputs_of, words_of
from tests.trainables.parity.transreid_network import jpm_feature

pytestmark = pytest.mark.integration

TOLERANCE = 1e-10
COUNT = 4
TINY: tuple[tuple[str, dict[str, Any]], ...] = (
    ("transreid-vit-base-tiny", {}),
    ("transreid-vit-jpm-tiny", {}),
    ("transreid-vit-stride-tiny", {}),
    ("transreid-vit-small-tiny", {}),
    ("transreid-vit-jpm-tiny", {"jpm_shift": 8}),
    ("agw-resnet50-tiny", {}),
    ("agw-resnet50-code-tiny", {}),
    ("agw-resnet50-nl-tiny", {}),
    ("agw-resnet50-nl-upstream-tiny", {}),
    ("agw-se-resnet50-tiny", {}),
    ("agw-se-resnext50-tiny", {}),
    ("agw-resnet50-ibn-a-tiny", {}),
    ("agw-resnet50-tiny", {"last_stride": "2"}),
    ("dafre-128-r18-tiny", {}),
    ("dafre-128-r152-tiny", {}),
    ("dafre-128-b16-tiny", {}),
    ("dafre-128-b32-tiny", {}),
    ("dafre-224-sn-tiny", {}),
    ("daf-128-r18-arcface-tiny", {}),
    ("animesion-l16-tiny", {}),
    ("animesion-l16-ifa-tiny", {}),
    ("animesion-l16-vilt-tiny", {"masking": "full"}),
    ("animesion-l16-vilt-tiny", {"masking": "none", "tag_weight": 0.0}),
    ("animesion-l16-vilt-tiny", {"masking": "full", "head": "ifa"}),
    ("animesion-l16-ifa-tiny", {"exclusion_weight": 0.01}),
    ("icartoonface-resnet50-tiny", {}),
    ("open-dinov2-small-tiny", {}),
    ("open-siglip2-base-tiny", {}),
    ("open-convnext-base-tiny", {}),
)
# the rows of the papers at their full depth and width, on small images
ROWS = (
    *(f"transreid-{row}" for row in ("deit-small", "deit-stride", "vit-small", "vit-base", "vit-jpm", "vit-stride")),
    *(f"agw-resnet{row}" for row in ("50", "50-nl", "101", "152", "50-ibn-a", "50-nl-upstream")),
    *(f"agw-se-res{row}" for row in ("net50", "net101", "net152", "next50", "next101")),
    *(f"dafre-128-{row}" for row in ("r18", "r152", "b16", "b32", "l16", "l32")),
    *("animesion-l16", "animesion-l16-ifa", "animesion-b16-vilt", "dafre-224-sn", "icartoonface-resnet50"),
)


def worst(pairs: list[tuple[Tensor, Tensor]]) -> float:
    """The greatest difference, of the greatest value where that is above 1."""
    return max(float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1)) for ours, theirs in pairs)


def compared(pair: Pair, *, training: bool) -> list[tuple[Tensor, Tensor]]:
    """All that both networks give for one batch, and their batch statistics after it."""
    images, pixels = images_of(pair.recipe, COUNT)
    words_BL = words_of(pair.recipe, COUNT)
    pair.ours.train(training)
    pair.theirs.train(training)
    with torch.no_grad():
        ours, theirs = pair.ours(images, words_BL), outputs_of(pair.theirs, pixels, words_BL)
    assert len(ours.logits) == len(theirs["logits"])
    found = list(zip(ours.logits, theirs["logits"], strict=True))
    found += list(zip(ours.features, theirs["features"], strict=True)) if "features" in theirs else []
    found += [(ours.extra["word_logits"], theirs["word_logits"])] if "word_logits" in theirs else []
    found += [(ours.extra["class_tokens"], theirs["class_tokens"])] if "class_tokens" in ours.extra else []
    assert ("word_logits" in ours.extra) == ("word_logits" in theirs)
    restated = pair.theirs.state_dict()
    named = as_restated(pair.ours.state_dict(), restated, rules_of(pair.recipe.system, pair.theirs))
    return [*found, *((named[name], value) for name, value in restated.items() if "running" in name)]


def label(case: tuple[str, dict[str, Any]]) -> str:
    """The recipe's name and what is set in it."""
    return "-".join([case[0], *(f"{key}={value}" for key, value in case[1].items())])


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("case", TINY, ids=label)
def test_equal_weights_give_equal_outputs(case: tuple[str, dict[str, Any]]) -> None:
    pair = make_pair(case[0], **case[1])
    for training in (True, False):
        difference = worst(compared(pair, training=training))
        assert difference < TOLERANCE, f"training={training}"


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ROWS)
def test_the_papers_rows_have_upstreams_depth_and_width(name: str) -> None:
    size = {"dafre-224-sn": 224}.get(name, 96 if name.startswith("transreid") else 64)
    pair = make_pair(name, pretrained=False, image_size=size)
    # in training mode: without batch statistics, random non-local blocks, cubic in their map, overflow
    difference = worst(compared(pair, training=True))
    assert difference < TOLERANCE


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ["transreid-vit-jpm-tiny", "agw-resnet50-tiny", "icartoonface-resnet50-tiny"])
def test_equal_weights_give_equal_test_features(name: str) -> None:
    pair = make_pair(name)
    pair.ours.eval()
    pair.theirs.eval()
    images, pixels = images_of(pair.recipe, COUNT)
    with torch.no_grad():
        outputs = outputs_of(pair.theirs, pixels, None)
        theirs = jpm_feature(outputs["features"]) if "jpm" in name else outputs.get("necked", outputs["features"])[0]
        difference = worst([(pair.ours.embed(images), functional.normalize(theirs, dim=1))])
    assert difference < TOLERANCE
