"""Images outside of shards, from files or bytes, prepared as the recipe's model expects them in evaluation."""

from collections.abc import Callable, Sequence
from pathlib import Path

from shards_tools.errors import Error
from shards_tools.images import OffsetImages
from shards_tools.sources.paths import SUFFIXES
from trainables.data.reading import Inputs, as_evaluated
from trainables.data.text import evaluated_words, words_without_tags
from trainables.recipes.recipe import Recipe


def picture_inputs(
    recipe: Recipe, vocabulary: Sequence[str], names: Sequence[str], read: Callable[[int], bytes]
) -> Inputs:
    """Return encoded images as inputs of the recipe's model; if it reads tags, they are empty.

    Args:
        vocabulary: of tags, from the checkpoint; empty if the recipe reads none.
        names: how an Error about a damaged image names it.
        read: returns the encoded bytes of an image by its position.
    """
    images = as_evaluated(recipe, lambda height, width, fit: OffsetImages(names, read, height, width, fit=fit))
    if not vocabulary:
        return Inputs(images)
    return Inputs(images, evaluated_words(words_without_tags(recipe, len(names)), recipe))


def find_pictures(places: Sequence[Path]) -> list[Path]:
    """Return the given files, and every JPEG and PNG file below the given folders, sorted by name.

    Raises:
        Error: a path does not exist, or there is no image.
    """
    found = [file for place in places for file in _below(place)]
    for place in places:
        if not place.exists():
            raise Error(f"{place} does not exist. Pass a JPEG or PNG file, or a folder of them.")
    if not found:
        raise Error(f"{', '.join(map(str, places))}: no JPEG or PNG file found. Use another folder.")
    return found


def _below(place: Path) -> list[Path]:
    if not place.is_dir():
        return [place]
    return sorted(file for file in place.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())


def read_file(file: Path) -> bytes:
    """Return the bytes of an image file.

    Raises:
        Error: the file cannot be read.
    """
    try:
        return file.read_bytes()
    except OSError as failure:
        raise Error(f"{file} cannot be read ({failure.strerror}). Use another file.") from failure
