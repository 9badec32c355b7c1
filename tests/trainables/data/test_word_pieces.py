"""BERT's word pieces: read from a file, cut greedily, masked, trained with, and refused in another layout."""

import numpy as np
import pytest

from shards_tools.errors import Error
from tests.trainables.models.test_animesion import manifest_with, small, tagged  # noqa: F401  # a fixture
from tests.trainables.reports import Reports
from trainables.data.text import NOT_ASKED, evaluated_words, hide, make_vocabulary, read_words, words_without_tags
from trainables.recipes import get_recipe
from trainables.training.checkpoint_info import read_info
from trainables.training.loop import train

PAD, UNUSED, UNK, CLS, SEP = 0, 1, 100, 101, 102
WORDS = ["long", "hair", "sm", "##ile", "1", "girl", "of", "character", "0", "2", "3", "hat"]


@pytest.fixture
def vocabulary_file(tmp_path):
    """A vocab.txt in BERT's layout with a few words."""
    lines = ["[PAD]", *(f"[unused{number}]" for number in range(99)), "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    file = tmp_path / "vocab.txt"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def with_pieces(file, **values):
    return small("animesion-b16-vilt-wordpieces-tiny", vocabulary_file=str(file), **values)


def greedy_pieces(word):
    """The longest piece that fits, again and again (Devlin et al. 2019); the whole word is unknown where none does."""
    pieces, rest = [], word
    while rest:
        prefix = "##" if pieces else ""
        longest = next((end for end in range(len(rest), 0, -1) if prefix + rest[:end] in WORDS), None)
        if longest is None:
            return [UNK]
        pieces.append(104 + WORDS.index(prefix + rest[:longest]))
        rest = rest[longest:]
    return pieces


def test_tags_are_joined_and_cut_into_the_longest_pieces(vocabulary_file):
    tags = [["Long hair", "smile"], [], ["sm", "smiles", "hat"], ["long hair", "smile", "hat", "1 girl", "hat"]]
    recipe, manifest = with_pieces(vocabulary_file, text_tokens=8), manifest_with(tags)
    vocabulary = make_vocabulary(recipe, manifest, np.arange(4))
    for row, own in zip(read_words(recipe, manifest, vocabulary).tolist(), tags, strict=True):
        pieces = [piece for word in " ".join(own).lower().split() for piece in greedy_pieces(word)]
        expected = [CLS, *pieces[:6], SEP]
        assert row == expected + [PAD] * (8 - len(expected))


def test_the_recipe_is_the_readmes_command_for_recognition_with_tags():
    recipe = get_recipe("animesion-b16-vilt-wordpieces")
    assert (recipe.text_tokens, recipe.tokenizer, recipe.masking, recipe.batch_size) == (32, "wordpieces", "none", 64)
    tagging = get_recipe("animesion-b16-vilt")
    assert (tagging.text_tokens, tagging.tokenizer, tagging.masking, tagging.batch_size) == (16, "tags", "full", 16)


def test_marks_are_never_hidden_and_unknown_words_are(vocabulary_file):
    recipe = with_pieces(vocabulary_file, masking="full", text_tokens=6)
    words = np.array([[CLS, 104, UNK, 107, SEP, PAD]])
    hidden, asked = hide(words, recipe, 0.5, 116, np.random.default_rng(0))
    assert hidden.tolist() == [[CLS, UNUSED, UNUSED, UNUSED, SEP, PAD]]
    assert asked.tolist() == [[NOT_ASKED, 104, UNK, 107, NOT_ASKED, NOT_ASKED]]
    assert evaluated_words(words, recipe).tolist() == hidden.tolist()
    assert words_without_tags(recipe, 1).tolist() == [[CLS, SEP, PAD, PAD, PAD, PAD]]


def test_a_training_keeps_its_pieces(tagged, vocabulary_file, tmp_path):  # noqa: F811
    recipe = with_pieces(vocabulary_file, epochs=3, optimizer="adamw", lr=3e-3, schedule="cosine", text_tokens=12)
    kept = Reports(tmp_path)
    train(recipe, tagged, report=kept)
    assert kept.metrics[-1]["loss"] < kept.metrics[0]["loss"]
    assert "tag_loss" not in kept.metrics[-1]
    vocabulary = read_info(tmp_path / "3").vocabulary
    assert vocabulary[104:] == tuple(WORDS)


def test_a_vocabulary_in_another_layout_is_refused_by_line(tmp_path, tagged):  # noqa: F811
    file = tmp_path / "vocab.txt"
    file.write_text("[PAD]\n[CLS]\n")
    with pytest.raises(Error, match=r"vocab.txt` has no line where line 101 should be \[UNK\]"):
        train(with_pieces(file), tagged, report=lambda report, save: None)
    with pytest.raises(Error, match=r"nothing.txt could not be read .* Set vocabulary_file to a copy"):
        train(with_pieces(tmp_path / "nothing.txt"), tagged, report=lambda report, save: None)


def test_a_vocabulary_without_word_pieces_is_refused():
    with pytest.raises(Error, match=r"vocabulary_file='vocab.txt' .* none with tokenizer=tags"):
        small(vocabulary_file="vocab.txt")
