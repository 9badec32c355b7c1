"""Animesion: aggregation of intermediate features, tags as words, what is hidden of them, and the losses of both.

B batch, K blocks, D width, L text length, V words.
"""

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from shards_tools.build import build
from shards_tools.errors import Error
from shards_tools.labels import collect_tags
from shards_tools.sources import dafull
from tests.trainables.conftest import draw_stripes
from tests.trainables.reports import Reports
from trainables.data.reading import evaluation_inputs
from trainables.data.text import (
    CLS,
    MARKS,
    NOT_ASKED,
    PAD,
    SEP,
    UNK,
    UNUSED,
    evaluated_words,
    hidden_fraction,
    hide,
    make_vocabulary,
    read_words,
)
from trainables.device import Device
from trainables.evaluation.evaluate import evaluate
from trainables.evaluation.evaluation import Evaluation
from trainables.losses.animesion import exclusion_loss, tag_loss
from trainables.models import build_model
from trainables.models.animesion import IntermediateFeatures
from trainables.models.text import TagDecoder, WordEmbedding
from trainables.recipes import get_recipe
from trainables.recipes.backbones import get_backbone
from trainables.recipes.settings import override
from trainables.training.checkpoint import load_model
from trainables.training.checkpoint_info import read_info
from trainables.training.loop import train

PIXELS = torch.randint(0, 256, (4, 24, 24, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
TAGS = [["long hair", "smile"], ["smile", "hat"], [], ["long hair", "rare", "hat", "smile", "blue eyes"], ["blue eyes"]]


def small(name="animesion-l16-vilt-tiny", **values):
    sizes = {"image_size": 24, "enlarge_px": 2, "images_per_epoch": None, "batch_size": 8, "warmup_steps": 4}
    return override(get_recipe(name), {**sizes, **values})


@pytest.fixture(scope="session")
def tagged(tmp_path_factory):
    """Shards of a drawn DAFull: four characters with a tag of their own among others that say nothing."""
    root = tmp_path_factory.mktemp("dafull")
    (root / "labels").mkdir()
    rows = {"train": [], "val": [], "test": []}
    for number in range(80):
        character, place = number % 4, f"{number % 1000:04d}/{number}.jpg"
        (root / "fullMin256" / place).parent.mkdir(parents=True, exist_ok=True)
        draw_stripes(character, number // 4 % 3, number).save(root / "fullMin256" / place, quality=95)
        tags = ["1 girl", f"of character {character}", "smile" if number % 3 else "hat"]
        name = "train" if number < 56 else "val" if number < 64 else "test"
        rows[name].append(f'{number},{place},{character},"{tags}","[]","[]"')
    header = "id,dir,class_id,tags_cat0,tags_cat3,tags_cat4"
    for name, lines in rows.items():
        (root / "labels" / f"{name}_tags.csv").write_text("\n".join([header, *lines]) + "\n")
    names = "".join(f"{character},character {character}\n" for character in range(4))
    (root / "labels" / "classid_classname.csv").write_text(names)
    return build(dafull.scan(root), tmp_path_factory.mktemp("shards") / "tagged")


def manifest_with(tags_of_images):
    return SimpleNamespace(tags=collect_tags(tags_of_images), num_images=len(tags_of_images), store="shards/x")


def test_ifa_is_its_formula_place_by_place():
    torch.manual_seed(0)
    head, class_tokens_BKD = IntermediateFeatures(get_backbone("vit_96x4")), torch.randn(2, 4, 96)
    torch.nn.init.normal_(head.norm.weight)
    for image in range(2):
        mixed = []
        for channel in range(96):
            value = sum(
                head.mix.weight[0, block].item() * class_tokens_BKD[image, block, channel].item() for block in range(4)
            )
            mixed.append(max(0.0, value + head.mix.bias.item()))
        mean = sum(mixed) / 96
        spread = math.sqrt(sum((value - mean) ** 2 for value in mixed) / 96 + 1e-12)
        for channel in range(96):
            expected = (mixed[channel] - mean) / spread * head.norm.weight[channel].item()
            assert head(class_tokens_BKD)[image, channel].item() == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_ifa_reads_the_class_token_of_every_block_before_the_final_norm():
    backbone = build_model(small("animesion-l16-ifa-tiny"), 3).backbone.eval()
    tokens_BTD = backbone.patch_embed(backbone.input_step(PIXELS))
    tokens_BTD = torch.cat([backbone.cls_token.expand(4, -1, -1), tokens_BTD], 1) + backbone.pos_embed
    class_tokens = []
    for block in backbone.blocks:
        tokens_BTD = block(tokens_BTD)
        class_tokens.append(tokens_BTD[:, 0])
    expected_BD = backbone.aggregation(torch.stack(class_tokens, dim=1))
    torch.testing.assert_close(backbone(PIXELS)["branches"][:, 0], expected_BD)
    assert backbone.norm is None


def test_the_vocabulary_is_the_marks_and_what_stands_twice_in_the_order_of_its_appearance():
    manifest = manifest_with(TAGS)
    assert make_vocabulary(small(), manifest, np.arange(5)) == (*MARKS, "long hair", "smile", "hat", "blue eyes")
    assert make_vocabulary(small(), manifest, np.array([0, 1])) == (*MARKS, "smile")
    assert (MARKS.index("[PAD]"), MARKS.index("[UNUSED]"), MARKS.index("[UNK]")) == (0, 1, 4)


def test_words_are_a_mark_the_tags_that_fit_a_mark_and_padding():
    vocabulary = (*MARKS, "long hair", "smile", "hat", "blue eyes")
    words = read_words(small(text_tokens=6), manifest_with(TAGS), vocabulary)
    assert words.tolist() == [
        [CLS, 5, 6, SEP, PAD, PAD],
        [CLS, 6, 7, SEP, PAD, PAD],
        [CLS, SEP, PAD, PAD, PAD, PAD],
        [CLS, 5, UNK, 7, 6, SEP],
        [CLS, 8, SEP, PAD, PAD, PAD],
    ]


def test_data_without_tags_are_refused_by_name(manifest):
    with pytest.raises(
        Error, match=r"has no tags, but the recipe needs them. Build the shards with `shards_tools build dafull`"
    ):
        train(small(), manifest, report=lambda report, save: None)


def test_the_masking_schedules_are_the_authors():
    recipe = small(masking="sigmoid", mask_warmup=0.1, mask_cooldown=0.5)
    assert [hidden_fraction(recipe, at) for at in (0.0, 0.05, 0.1)] == [0.0, 0.0, 0.0]
    for at in (0.2, 0.3, 0.45):
        expected = 1 - 0.5 * (1 + math.cos(math.pi * (at - 0.1) / 0.4))
        assert hidden_fraction(recipe, at) == pytest.approx(expected)
    assert [hidden_fraction(recipe, at) for at in (0.5, 0.7, 1.0)] == pytest.approx([1.0, 1.0, 1.0])
    for masking, fraction in (("none", 0.0), ("bert", 0.15), ("full", 1.0)):
        assert {hidden_fraction(small(masking=masking), at) for at in (0.0, 0.4, 1.0)} == {fraction}


@pytest.mark.parametrize("mask_with", ["constant", "random"])
def test_so_many_tags_are_hidden_marks_never_and_the_hidden_are_asked_for(mask_with):
    words_BL = np.tile(np.array([CLS, 5, 6, 7, UNK, SEP, PAD]), (4000, 1))
    recipe = small(masking="bert", mask_with=mask_with)
    hidden_BL, asked_BL = hide(words_BL, recipe, 0.5, 9, np.random.default_rng(0))
    asked = asked_BL != NOT_ASKED
    assert asked[:, 1:5].mean() == pytest.approx(0.15, abs=0.01)
    assert not asked[:, [0, 5, 6]].any()
    np.testing.assert_array_equal(asked_BL[asked], words_BL[asked])
    np.testing.assert_array_equal(hidden_BL[~asked], words_BL[~asked])
    found = set(hidden_BL[asked].tolist())
    assert found == ({UNUSED} if mask_with == "constant" else set(range(len(MARKS), 9)))


def test_a_model_that_ends_without_tags_is_evaluated_without_them():
    words = np.array([[CLS, 5, UNK, SEP, PAD]])
    assert evaluated_words(words, small(masking="full")).tolist() == [[CLS, UNUSED, UNUSED, SEP, PAD]]
    assert evaluated_words(words, small(masking="sigmoid")).tolist() == [[CLS, UNUSED, UNUSED, SEP, PAD]]
    assert evaluated_words(words, small(masking="bert")) is words


def test_words_come_in_as_berts_do():
    torch.manual_seed(0)
    embedding, words_BL = WordEmbedding(9, 4, 8, dropout=0.5).eval(), torch.tensor([[2, 5, 3, 0]])
    for place, word in enumerate(words_BL[0].tolist()):
        total = embedding.words.weight[word] + embedding.places.weight[place] + embedding.kind
        expected = (total - total.mean()) / (total.var(unbiased=False) + 1e-12).sqrt()
        torch.testing.assert_close(embedding(words_BL)[0, place], expected, rtol=1e-4, atol=1e-5)
    assert not embedding.words.weight[0].any()  # padding says nothing


def test_the_tag_head_reads_the_tokens_before_any_norm_and_only_where_tags_are_hidden():
    model = build_model(small(), 3, num_words=9).eval()
    words_BL = torch.tensor([[CLS, 5, SEP, PAD] * 4]).expand(4, -1)
    left = []
    model.backbone.blocks[-1].register_forward_hook(lambda block, inputs, tokens_BTD: left.append(tokens_BTD))
    found = model.backbone(PIXELS, words_BL)["word_logits"]
    expected = model.backbone.decoder(left[0][:, -16:], model.backbone.words.words.weight)
    torch.testing.assert_close(found, expected)
    assert build_model(small(masking="none"), 3, num_words=9).backbone.decoder is None


def test_with_ifa_nothing_follows_the_final_norm_so_there_is_none():
    assert build_model(small(head="ifa"), 3, num_words=9).backbone.norm is None


def test_words_are_guessed_by_the_embeddings_with_which_they_came_in():
    torch.manual_seed(0)
    decoder, tokens_BLD, words_VD = TagDecoder(9, 8), torch.randn(2, 3, 8), torch.randn(9, 8)
    linear, _, norm = decoder.transform
    hidden = functional.gelu(tokens_BLD @ linear.weight.T + linear.bias)
    hidden = (hidden - hidden.mean(-1, keepdim=True)) / (hidden.var(-1, keepdim=True, unbiased=False) + norm.eps).sqrt()
    torch.testing.assert_close(decoder(tokens_BLD, words_VD), hidden @ words_VD.T, rtol=1e-4, atol=1e-5)


def test_every_token_sees_the_words_and_padding_too():
    model = build_model(small(), 3, num_words=9).eval()
    words_BL = torch.tensor([[CLS, 5, SEP, PAD] * 4]).expand(4, -1)
    before = model.embed(PIXELS, words_BL)
    for place, word in ((1, 6), (3, UNUSED)):
        changed_BL = words_BL.clone()
        changed_BL[:, place] = word
        assert not torch.allclose(model.embed(PIXELS, changed_BL), before)


def test_the_tag_loss_is_the_mean_over_hidden_words():
    torch.manual_seed(0)
    logits_BLV, asked_BL = torch.randn(2, 3, 5), torch.tensor([[NOT_ASKED, 4, NOT_ASKED], [0, NOT_ASKED, 2]])
    total, number = 0.0, 0
    for image in range(2):
        for place in range(3):
            word = asked_BL[image, place].item()
            if word != NOT_ASKED:
                row = logits_BLV[image, place].tolist()
                total += math.log(sum(map(math.exp, row))) - row[word]
                number += 1
    assert tag_loss(logits_BLV, asked_BL).item() == pytest.approx(total / number, rel=1e-5)
    assert tag_loss(logits_BLV, torch.full((2, 3), NOT_ASKED)).item() == 0.0


@pytest.mark.parametrize(("distance", "temperature"), [(2, 1.0), (1, 3.0)])
def test_the_exclusion_loss_is_the_sum_of_divergences_block_by_block(distance, temperature):
    class_tokens_BKD = torch.randn(3, 5, 6, generator=torch.Generator().manual_seed(0))
    total = 0.0
    for image in range(3):
        softened = [torch.softmax(token / temperature, 0).tolist() for token in class_tokens_BKD[image]]
        for block in range(5 - distance):
            later, earlier = softened[block + distance], softened[block]
            total += sum(p * math.log(p / q) for p, q in zip(later, earlier, strict=True))
    found = exclusion_loss(class_tokens_BKD, distance, temperature).item()
    assert found == pytest.approx(temperature**2 * total / 3, rel=1e-4)


def test_a_training_with_tags_learns_reports_and_is_loaded_with_its_words(tagged, tmp_path):
    recipe = small(epochs=3, optimizer="adamw", lr=3e-3, exclusion_weight=0.01, masking="bert", schedule="cosine")
    kept = Reports(tmp_path)
    train(recipe, tagged, report=kept)
    reports = kept.metrics
    assert reports[-1]["loss"] < reports[0]["loss"]
    assert {"id_loss", "tag_loss", "exclusion_loss", "top1", "top5", "top1_mean_class"} <= set(reports[0])
    assert reports[-1]["top1"] > 0.4  # chance is a quarter; a tag gives the class away
    model, info = load_model(tmp_path / "3")
    assert info.vocabulary[: len(MARKS)] == MARKS
    assert "of character 2" in info.vocabulary
    inputs = evaluation_inputs(info.recipe, tagged, info.vocabulary, "auto")
    again = evaluate(model, Evaluation(tagged, "val"), inputs, Device("cpu"))
    assert again["top1"] == info.metrics["top1"]


def test_hidden_words_are_drawn_from_seed_epoch_and_place_so_that_a_resumed_training_is_the_same(tagged, tmp_path):
    recipe = small(epochs=2, masking="sigmoid", mask_with="random")
    whole, again = Reports(tmp_path / "whole"), Reports(tmp_path / "again")
    train(recipe, tagged, report=whole)
    train(recipe, tagged, report=again, resume=whole.folder / "1")
    assert again.lasting() == whole.lasting()
    assert read_info(again.folder / "2").vocabulary == read_info(whole.folder / "1").vocabulary


def test_without_tags_no_vocabulary_is_kept(tagged, tmp_path):
    recipe = dataclasses.replace(small("animesion-l16-tiny"), epochs=1)
    train(recipe, tagged, report=lambda report, save: save(tmp_path / "one"))
    assert read_info(tmp_path / "one").vocabulary == ()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"text_tokens": 2}, "text_tokens=2 .* 0, or at least 3"),
        ({"mask_warmup": 0.6, "mask_cooldown": 0.6}, "add up to more than 1. Lower one"),
        (
            {"exclusion_weight": 0.1, "exclusion_distance": 6},
            "exclusion_distance=6 .* less than 6, the number of blocks",
        ),
        ({"backbone": "resnet18_32"}, "backbone='resnet18_32' .* a vision transformer"),
    ],
)
def test_a_value_that_does_not_do_is_named(values, message):
    with pytest.raises(Error, match=message):
        small(**values)
