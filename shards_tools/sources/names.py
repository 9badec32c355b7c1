"""Names in their Unicode forms and encodings: equal names are one label, and a name that is no text is reported."""

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from shards_tools.errors import Error

JAPANESE = "cp932"  # Windows's Shift-JIS, in which Japanese archives name their files


def same_form(name: str) -> str:
    """Return the name in the form NFC, so that names that look the same are equal.

    macOS and its archives write NFD, in which the kana ga is ka and a mark.
    """
    return unicodedata.normalize("NFC", name)


def printable(path: Path | str) -> str:
    r"""Return a path as text for messages and notes; bytes that are not UTF-8 are written as \x83."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def refuse_odd_name(path: Path) -> None:
    """Check that the last part of a path is text.

    Raises:
        Error: it is not valid UTF-8; the message names the folder, and how the name reads in Shift-JIS.
    """
    data = os.fsencode(path.name)
    try:
        data.decode()
    except UnicodeDecodeError:
        raise Error(
            f"{printable(path.parent)} has an entry with the name {printable(path.name)}, which is not valid"
            f" UTF-8{_in_japanese(data)}. Rename it, or extract its archive again with the right encoding."
        ) from None


def _in_japanese(data: bytes) -> str:
    try:
        return f" (in Shift-JIS it is {data.decode(JAPANESE)})"
    except UnicodeDecodeError:
        return ""


def refuse_equal_labels(folders: Iterable[Path]) -> None:
    """Check that the folders, which are in one place, have different names as labels.

    Raises:
        Error: two names differ only in their Unicode forms.
    """
    first: dict[str, Path] = {}
    for folder in folders:
        label = same_form(folder.name)
        if label in first:
            raise Error(
                f"{first[label].parent} has two folders {label}, whose names differ only in their Unicode forms (NFC"
                " and NFD). Merge them."
            )
        first[label] = folder
