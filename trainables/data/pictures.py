"""Images outside of shards, from files or bytes, prepared as the recipe's model expects them in evaluation."""

import base64
import reprlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from shards_tools.conversion import AS_STORED, Conversion
from shards_tools.errors import Error
from shards_tools.formats import NAMES, SUFFIXES
from shards_tools.images import OffsetImages
from shards_tools.picture_limits import read_picture
from trainables.data.reading import Inputs, as_evaluated
from trainables.data.text import evaluated_words, words_without_tags
from trainables.recipes.recipe import Recipe


class PictureImages(OffsetImages):
    """Images of which some may be broken: those are black, and `errors` has their messages by position."""

    def __init__(self, *arguments: Any, errors: dict[int, str], **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._errors = errors

    def _read(self, index: int, image_HWC: np.ndarray) -> None:
        try:
            super()._read(index, image_HWC)
        except Error as mistake:
            self._errors[index] = str(mistake)
            image_HWC[:] = 0


def picture_inputs(
    recipe: Recipe,
    vocabulary: Sequence[str],
    names: Sequence[str],
    read: Callable[[int], bytes],
    conversion: Conversion = AS_STORED,
) -> Inputs:
    """Return encoded images as inputs of the recipe's model; if it reads tags, they are empty.

    Args:
        recipe: sets the size of the images.
        vocabulary: of tags, from the checkpoint; empty if the recipe reads none.
        names: how an Error about a damaged image names it.
        read: returns the encoded bytes of an image by its position.
        conversion: of the images that the model was trained on.
    """
    errors: dict[int, str] = {}
    images = as_evaluated(
        recipe,
        lambda height, width, fit: PictureImages(
            names, read, height, width, fit=fit, conversion=conversion, errors=errors
        ),
    )
    if not vocabulary:
        return Inputs(images, errors=errors)
    return Inputs(images, evaluated_words(words_without_tags(recipe, len(names)), recipe), errors)


def find_pictures(places: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return the pictures among the given files and below the given folders, and the other files of these folders.

    A given file counts as a picture whatever its name. In folders the suffix decides, and hidden files are ignored.

    Raises:
        Error: a path does not exist, or there is no picture.
    """
    for place in places:
        if not place.exists():
            raise Error(f"{place} does not exist. Pass a picture ({NAMES}), or a folder of them.")
    found = [file for place in places for file in _below(place)]
    given = set(places)
    others = [file for file in found if file not in given and file.suffix.lower() not in SUFFIXES]
    pictures = [file for file in found if file in given or file.suffix.lower() in SUFFIXES]
    if not pictures:
        raise Error(f"{', '.join(map(str, places))}: no picture found ({NAMES}). Use another folder.")
    return pictures, others


def _below(place: Path) -> list[Path]:
    if not place.is_dir():
        return [place]
    return sorted(file for file in place.rglob("*") if file.is_file() and not file.name.startswith("."))


def read_file(file: Path) -> bytes:
    """Return the bytes of an image file.

    Raises:
        Error: the file cannot be read.
    """
    try:
        return read_picture(file)
    except OSError as failure:
        raise Error(f"{file} cannot be read ({failure.strerror}). Use another file.") from failure


def picture_in_cell(cell: object, name: str) -> bytes:
    """Return the encoded picture in a cell of a table.

    Args:
        cell: the bytes themselves, or text in base64, with or without line breaks.
        name: how the Error names it.

    Raises:
        Error: it is neither.
    """
    if isinstance(cell, bytes):
        return cell
    if isinstance(cell, str):
        with suppress(ValueError):
            return base64.b64decode("".join(cell.split()), validate=True)
    raise Error(f"{name} is not text in base64 ({reprlib.repr(cell)}). Send the file of the picture in base64.")
