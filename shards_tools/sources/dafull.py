"""DAFull: the whole pictures of DAF:re, short side 256 px, with their tags.

It has ROOT/fullMin256/BUCKET/ID.jpg, ROOT/labels/{train,val,test}_tags.csv with a header, and
labels/classid_classname.csv. Tags are written as Python lists; only category 0 (description) is kept. vocab.pkl is
never opened.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from shards_tools.errors import Error
from shards_tools.sources.classes import LIST_NAMES, ClassLists, Row, scan_classes
from shards_tools.sources.lists import number, read_rows, short
from shards_tools.sources.paths import require_folder
from shards_tools.sources.source import Source

PLAIN_LIST = re.compile(r"\['[^'\\]*'(?:, '[^'\\]*')*\]")  # no quotes and no escapes in the words
HEADER = ["id", "dir", "class_id", "tags_cat0", "tags_cat3", "tags_cat4"]


def scan(folder: Path) -> Source:
    """Scan every image of the three lists, with its tags.

    Raises:
        Error: a part of the tree is missing, or its lists and images do not match.
    """
    root = require_folder(Path(folder), "labels and fullMin256")
    images, labels = root / "fullMin256", root / "labels"
    lists = {code: labels / f"{name}_tags.csv" for code, name in LIST_NAMES.items()}
    return scan_classes(ClassLists("dafull", root, images, labels / "classid_classname.csv", lists), read_tagged)


def read_tagged(file: Path) -> Iterator[Row]:
    """Yield the rows of a list with tags.

    Raises:
        Error: the header or a row is not valid.
    """
    rows = read_rows(file, len(HEADER))
    _, header = next(rows, (1, []))
    if header != HEADER:
        raise Error(f"{file}:1 should be the header {','.join(HEADER)}, not {short(','.join(header))}. Correct it.")
    for line, (_, path, class_id, tags, _, _) in rows:
        yield Row(line, number(class_id, file, line, "class id"), path, _tags(tags, file, line))


def parse_tags(text: str) -> list[str] | None:
    """Parse a Python list literal of strings; return None if it is anything else."""
    if PLAIN_LIST.fullmatch(text):  # nearly all lists; much faster than Python's parser
        return text[2:-2].split("', '")
    try:
        tags = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return tags if isinstance(tags, list) and all(isinstance(tag, str) for tag in tags) else None


def _tags(text: str, file: Path, line: int) -> tuple[str, ...]:
    tags = parse_tags(text)
    if tags is None:
        raise Error(f"{file}:{line} has the tags {short(text)}. Write them as a list such as ['long hair'].")
    return tuple(map(sys.intern, tags))  # one copy of each word instead of millions
