"""Tags as a transformer reads them: a vocabulary, words of fixed length for every image, and which of them are hidden.

B batch, L text length.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from trainables.recipes.animesion import AnimesionRecipe

MARKS = ("[PAD]", "[UNUSED]", "[CLS]", "[SEP]", "[UNK]")  # the first words of every vocabulary, in this order
PAD, UNUSED, CLS, SEP, UNK = range(len(MARKS))
LEAST_COUNT = 2  # a tag that stands only once is unknown
HIDDEN_STREAM = 4  # names its random stream beside those of augmentation.py
BERT_FRACTION = 0.15
NOT_ASKED = -100  # torch's: a place whose word is not to be guessed


def make_vocabulary(manifest: Manifest, indices: np.ndarray) -> tuple[str, ...]:
    """The marks, and every tag that stands at least twice among these images, in the order in which they first do."""
    tags = manifest.tags
    if tags is None:
        raise Error(
            f"{manifest.store} has no tags, and the recipe reads them. Build shards of dafull, or set text_tokens=0."
        )
    counts = Counter(tag for index in indices.tolist() for tag in tags.of(index))
    return (*MARKS, *(tag for tag, count in counts.items() if count >= LEAST_COUNT))


def read_words(manifest: Manifest, vocabulary: Sequence[str], length: int) -> np.ndarray:
    """The words of every image, int64 [num_images, L]: a mark, its tags as far as they fit, a mark, and padding."""
    if manifest.tags is None:
        raise Error(f"{manifest.store} has no tags, and the model reads them. Build shards of dafull.")
    numbers = {word: number for number, word in enumerate(vocabulary)}
    words = np.full((manifest.num_images, length), PAD, dtype=np.int64)
    for index in range(manifest.num_images):
        tags = manifest.tags.of(index)[: length - 2]
        row = [CLS, *(numbers.get(tag, UNK) for tag in tags), SEP]
        words[index, : len(row)] = row
    return words


def words_without_tags(num_images: int, length: int) -> np.ndarray:
    """The words of images that come without tags, int64 [num_images, L]: the marks, and padding."""
    words = np.full((num_images, length), PAD, dtype=np.int64)
    words[:, :2] = CLS, SEP
    return words


def hidden_fraction(recipe: AnimesionRecipe, progress: float) -> float:
    """How many of the tags are hidden when so much of the training is done, by the recipe's `masking`.

    bert: 15 %. full: all. sigmoid: none during the warm-up, all during the cool-down, and between them
    1 - (1 + cos(pi x)) / 2, which is a cosine, of the part x of the way.
    """
    if recipe.masking == "sigmoid":
        way = 1 - recipe.mask_warmup - recipe.mask_cooldown
        x = (progress - recipe.mask_warmup) / way if way > 0 else float(progress >= recipe.mask_warmup)
        return 1 - 0.5 * (1 + math.cos(math.pi * min(max(x, 0.0), 1.0)))
    return {"none": 0.0, "bert": BERT_FRACTION, "full": 1.0}[recipe.masking]


def hide(
    words_BL: np.ndarray, recipe: AnimesionRecipe, progress: float, num_words: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The words with some tags hidden, and those that are to be guessed, NOT_ASKED elsewhere.

    The marks that give a text its shape stay; an unknown tag is a tag.
    """
    hidden_BL = (random.random(words_BL.shape) < hidden_fraction(recipe, progress)) & (words_BL >= UNK)
    others_BL = random.integers(len(MARKS), num_words, words_BL.shape) if recipe.mask_with == "random" else UNUSED
    return np.where(hidden_BL, others_BL, words_BL), np.where(hidden_BL, words_BL, NOT_ASKED)


def evaluated_words(words: np.ndarray, recipe: AnimesionRecipe) -> np.ndarray:
    """The words that a model is evaluated with: none where its training ends by hiding all, else as they are."""
    if recipe.masking not in ("full", "sigmoid"):
        return words
    return np.where(words >= UNK, UNUSED, words)
