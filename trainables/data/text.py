"""Tags as input of a transformer: a vocabulary, words of fixed length per image, and masking.

A word is a whole tag or, with `tokenizer=wordpieces`, one of BERT's word pieces.

B batch, L text length.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from trainables.data.word_pieces import NUM_PIECES, PLACES, read_piece_ids, read_pieces
from trainables.recipes.animesion import AnimesionRecipe
from trainables.recipes.recipe import Recipe

MARKS = ("[PAD]", "[UNUSED]", "[CLS]", "[SEP]", "[UNK]")  # the first words of every vocabulary, in this order
PAD, UNUSED, CLS, SEP, UNK = range(len(MARKS))
# [CLS] and [SEP] of each tokenizer, and its first word after the marks; both have [PAD] at 0 and an unused word at 1
ENDS = {"tags": (CLS, SEP), "wordpieces": (PLACES["[CLS]"], PLACES["[SEP]"])}
FIRST_WORD = {"tags": len(MARKS), "wordpieces": PLACES["[SEP]"] + 2}  # BERT's [MASK] is in between
LEAST_COUNT = 2  # rarer tags are unknown
HIDDEN_STREAM = 4  # key of its random stream, next to those of augmentation.py
BERT_FRACTION = 0.15
NOT_ASKED = -100  # torch's ignore_index: a word that is not to be predicted


def make_vocabulary(recipe: Recipe, manifest: Manifest, indices: np.ndarray) -> tuple[str, ...]:
    """Return the vocabulary of the recipe's model; empty if it reads no tags.

    With `tags`: the marks, then every tag that occurs at least twice in these images, in order of first occurrence.
    With `wordpieces`: BERT's.

    Raises:
        Error: the shards have no tags, or the word pieces cannot be read.
    """
    if not isinstance(recipe, AnimesionRecipe) or not recipe.text_tokens:
        return ()
    tags = manifest.tags
    if tags is None:
        raise Error(
            f"{manifest.store} has no tags, but the recipe needs them. Build the shards with `shards_tools build"
            " dafull`, or set text_tokens=0."
        )
    if recipe.tokenizer == "wordpieces":
        return read_pieces(recipe.vocabulary_file)
    counts = Counter(tag for index in indices.tolist() for tag in tags.of(index))
    return (*MARKS, *(tag for tag, count in counts.items() if count >= LEAST_COUNT))


def least_num_words(recipe: Recipe) -> int:
    """Return the size of the smallest vocabulary that the recipe's model may have, to list sizes without data."""
    if not isinstance(recipe, AnimesionRecipe) or not recipe.text_tokens:
        return 0
    return NUM_PIECES if recipe.tokenizer == "wordpieces" else len(MARKS)


def read_words(recipe: Recipe, manifest: Manifest, vocabulary: Sequence[str]) -> np.ndarray:
    """Return the words of every image, int64 [num_images, L]: a mark, the words that fit, a mark, and padding.

    Raises:
        Error: the shards have no tags.
    """
    if manifest.tags is None:
        raise Error(f"{manifest.store} has no tags, but the model needs them. Use shards that `build dafull` made.")
    assert isinstance(recipe, AnimesionRecipe)  # only it reads tags
    length = recipe.text_tokens
    if recipe.tokenizer == "wordpieces":
        texts = [" ".join(manifest.tags.of(index)) for index in range(manifest.num_images)]
        return read_piece_ids(texts, vocabulary, length)
    numbers = {word: number for number, word in enumerate(vocabulary)}
    words = np.full((manifest.num_images, length), PAD, dtype=np.int64)
    for index in range(manifest.num_images):
        tags = manifest.tags.of(index)[: length - 2]
        row = [CLS, *(numbers.get(tag, UNK) for tag in tags), SEP]
        words[index, : len(row)] = row
    return words


def words_without_tags(recipe: Recipe, num_images: int) -> np.ndarray:
    """Return the words of images without tags, int64 [num_images, L]: the marks, and padding."""
    assert isinstance(recipe, AnimesionRecipe)
    words = np.full((num_images, recipe.text_tokens), PAD, dtype=np.int64)
    words[:, :2] = ENDS[recipe.tokenizer]
    return words


def hidden_fraction(recipe: AnimesionRecipe, progress: float) -> float:
    """Return the fraction of tags to mask, by the recipe's `masking`.

    bert: 15 %. full: all. sigmoid: none during the warm-up, all during the cool-down, and in between the cosine 1 - (1
    + cos(pi x)) / 2, where x is the fraction of the way from warm-up to cool-down.

    Args:
        progress: finished fraction of the training, 0..1.
    """
    if recipe.masking == "sigmoid":
        way = 1 - recipe.mask_warmup - recipe.mask_cooldown
        x = (progress - recipe.mask_warmup) / way if way > 0 else float(progress >= recipe.mask_warmup)
        return 1 - 0.5 * (1 + math.cos(math.pi * min(max(x, 0.0), 1.0)))
    return {"none": 0.0, "bert": BERT_FRACTION, "full": 1.0}[recipe.masking]


def hide(
    words_BL: np.ndarray, recipe: AnimesionRecipe, progress: float, num_words: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Mask some tags, for the model to predict.

    The marks that structure a text are never masked; unknown tags may be.

    Args:
        words_BL: int64; unchanged.
        recipe: how many words are masked, and with what.
        progress: finished fraction of the training, 0..1.
        num_words: size of the vocabulary, for recipes that replace a masked word with a random one.
        random: draws the masks and the random words.

    Returns:
        The words with some masked, and the targets, both int64 [B, L]. A target is the masked word, or NOT_ASKED.
    """
    hidden_BL = (random.random(words_BL.shape) < hidden_fraction(recipe, progress)) & _is_word(words_BL, recipe)
    first = FIRST_WORD[recipe.tokenizer]
    others_BL = random.integers(first, num_words, words_BL.shape) if recipe.mask_with == "random" else UNUSED
    return np.where(hidden_BL, others_BL, words_BL), np.where(hidden_BL, words_BL, NOT_ASKED)


def evaluated_words(words: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Return the words for evaluation: all masked if the training ends with all masked, else unchanged."""
    assert isinstance(recipe, AnimesionRecipe)
    if recipe.masking not in ("full", "sigmoid"):
        return words
    return np.where(_is_word(words, recipe), UNUSED, words)


def _is_word(words: np.ndarray, recipe: AnimesionRecipe) -> np.ndarray:
    """Return whether each word comes from the tags, known or not, and is not a mark."""
    return ~np.isin(words, (PAD, *ENDS[recipe.tokenizer]))
