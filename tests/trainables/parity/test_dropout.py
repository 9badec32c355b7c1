"""Where dropout and drop path act: ours beside the restated networks, by what is dropped and by what that does."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from tests.trainables.parity.pairs import images_of, make_pair, outputs_of, words_of

pytestmark = pytest.mark.integration

DEPTH, HEADS, WIDTH, TOKENS, TEXT = 4, 3, 96, 5, 16
IMAGE_PX = 16  # four patches and the class token
BLOCK_OUTPUTS: dict[tuple[int, ...], int] = {(TOKENS, WIDTH): 2 * DEPTH}
ATTENTION: dict[tuple[int, ...], int] = {(HEADS, TOKENS, TOKENS): DEPTH}
REPEATS = 3000
SPREAD = 0.04  # relative difference of the spreads; inside the MLP, dropout would add 7 %

# a few whole paths are dropped or not, which leaves their spread known to 3 %; half of drop path would take off 30 %
SPREAD_OF_PATHS = 0.12

# upstream's: v1 drops attention probabilities and both outputs of a block, v2 the outputs alone, and BERT its input
CASES: tuple[tuple[str, dict[str, Any], dict[tuple[int, ...], int]], ...] = (
    ("dafre-128-b16-tiny", {}, {**BLOCK_OUTPUTS, **ATTENTION}),
    ("animesion-b16-tiny", {}, BLOCK_OUTPUTS),
    ("animesion-b16-ifa-tiny", {}, BLOCK_OUTPUTS),
    (
        "animesion-b16-vilt-tiny",
        {"masking": "full", "text_tokens": TEXT},
        {(TOKENS + TEXT, WIDTH): 2 * DEPTH, (TEXT, WIDTH): 1},
    ),
)


def dropped_by(network: Any, *inputs: Tensor | None, monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[int, ...]]:
    """What one pass in training mode drops of: shapes without the batch, of what torch is asked to drop at .1."""
    seen: Counter[tuple[int, ...]] = Counter()
    dropout, attention = functional.dropout, functional.scaled_dot_product_attention

    def spy_dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if p > 0 and training:
            assert p == pytest.approx(0.1)
            seen[tuple(x.shape[1:])] += 1
        return dropout(x, p, training, inplace)

    def spy_attention(query: Tensor, key: Tensor, *others: Any, dropout_p: float = 0.0, **more: Any) -> Tensor:
        if dropout_p > 0:
            assert dropout_p == pytest.approx(0.1)
            seen[query.shape[1], query.shape[2], key.shape[2]] += 1
        return attention(query, key, *others, dropout_p=dropout_p, **more)

    with monkeypatch.context() as patch:
        patch.setattr(functional, "dropout", spy_dropout)
        patch.setattr(functional, "scaled_dot_product_attention", spy_attention)
        network.train()(*inputs)
    return seen


@pytest.mark.parametrize(("name", "settings", "expected"), CASES, ids=[case[0] for case in CASES])
def test_dropout_sits_where_upstream_has_it(
    name: str, settings: dict[str, Any], expected: dict[tuple[int, ...], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = make_pair(name, noisy=True, image_size=IMAGE_PX, **settings)
    (images, pixels), words_BL = images_of(pair.recipe, 2), words_of(pair.recipe, 2)
    assert (
        dropped_by(pair.theirs, pixels, *([] if words_BL is None else [words_BL]), monkeypatch=monkeypatch) == expected
    )
    assert dropped_by(pair.ours, images, words_BL, monkeypatch=monkeypatch) == expected


@pytest.mark.parametrize(
    ("name", "image_size", "bound"),
    [
        ("dafre-128-b16-tiny", IMAGE_PX, SPREAD),
        ("dafre-224-sn-tiny", IMAGE_PX, SPREAD),
        ("animesion-b16-tiny", IMAGE_PX, SPREAD),
        ("animesion-b16-ifa-tiny", IMAGE_PX, SPREAD),
        ("transreid-vit-base-tiny", IMAGE_PX, SPREAD_OF_PATHS),
        ("transreid-vit-jpm-tiny", 24, SPREAD_OF_PATHS),
    ],
)
def test_what_is_dropped_spreads_the_output_as_in_upstream(name: str, image_size: int, bound: float) -> None:
    pair = make_pair(name, noisy=True, image_size=image_size)
    image, pixels = (batch.expand(REPEATS, *batch.shape[1:]) for batch in images_of(pair.recipe, 1))
    for network in (pair.ours.train(), pair.theirs.train()):
        for part in network.modules():
            if isinstance(part, _BatchNorm):
                part.eval()  # among equal images a batch norm would magnify what is dropped
    with torch.no_grad():
        ours, theirs = pair.ours(image), outputs_of(pair.theirs, pixels, None)
    for our_logits, their_logits in zip(ours.logits, theirs["logits"], strict=True):
        spreads = our_logits.std(dim=0), their_logits.std(dim=0)
        assert spreads[1].min() > 0
        assert float((spreads[0] / spreads[1]).log().mean()) == pytest.approx(0, abs=bound)
        errors = torch.hypot(*spreads) / REPEATS**0.5
        assert float(((our_logits.mean(dim=0) - their_logits.mean(dim=0)) / errors).abs().max()) < 5


@pytest.mark.parametrize("name", ["transreid-vit-base-tiny", "agw-resnet50-nl-tiny", "icartoonface-resnet50-tiny"])
def test_the_others_have_no_dropout(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = make_pair(name, noisy=True)
    assert dropped_by(pair.ours, images_of(pair.recipe, 2)[0], monkeypatch=monkeypatch) == {}
