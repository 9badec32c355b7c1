"""Names of folders and lists that mean a split, in the spellings of common data sets, timm and Hugging Face."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from shards_tools.errors import Error

SPELLINGS = {
    "train": ("train", "training", "trainval"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
    "query": ("query", "queries", "probe"),
    "gallery": ("gallery", "galleries"),
}
KNOWN = "train, val, test, query or gallery"
_SPLIT_OF = {spelling: split for split, spellings in SPELLINGS.items() for spelling in spellings}
_NAME = re.compile(
    rf"(?:boundingbox|bbox|images?|imgs?)?({'|'.join(_SPLIT_OF)})(?:set|split|data|dataset|list|images?|imgs?)?"
)


def split_of(name: str) -> str | None:
    """Return the split that a name means, or None.

    Case, separators and words such as "set" do not matter.

    >>> [split_of(name) for name in ("Train", "bounding_box_test", "valid_list", "trainset", "reimu")]
    ['train', 'test', 'val', 'train', None]
    """
    plain = re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name).casefold())
    found = _NAME.fullmatch(plain)
    return _SPLIT_OF[found[1]] if found else None


def refuse_unread_splits(entries: Iterable[Path], read: Iterable[str]) -> None:
    """Check that no split is skipped because of its spelling.

    Args:
        entries: folders or lists that the source does not read.
        read: the names that it reads.

    Raises:
        Error: an entry is named like a split.
    """
    for entry in entries:
        if split_of(entry.stem):
            raise Error(
                f"{entry} is named like a split, but the source reads only {', '.join(read)}. Rename it or move it."
            )
