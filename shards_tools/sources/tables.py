"""Lists of images as people write them: CSV, tabs or blanks, with or without a header, in any order of columns."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from shards_tools.errors import MAX_LISTED, Error
from shards_tools.formats import SUFFIXES
from shards_tools.sources.lists import read_any_rows, short
from shards_tools.sources.names import same_form
from shards_tools.sources.split_names import KNOWN, split_of

LIST_SUFFIXES = (".csv", ".tsv", ".txt", ".lst")
CSV_DELIMITERS = (",", ";", "\t")  # Excel writes semicolons where the comma is the decimal point
SYNONYMS = {
    "path": ("path", "filepath", "file", "filename", "image", "imagepath", "imagename", "img", "imgpath", "imgname"),
    "label": ("label", "class", "classname", "classid", "category", "target", "character", "work", "identity", "pid"),
    "split": ("split", "subset", "set", "partition", "part"),
    "role": ("role", "camera", "cam", "cameraid", "camid"),
}
_COLUMN_OF = {synonym: column for column, synonyms in SYNONYMS.items() for synonym in synonyms}


class ListedImage(NamedTuple):
    """One row of a list."""

    line: int
    path: str
    label: str
    split: str | None  # train, val, test, query or gallery; None if the list has no such column
    role: str | None


@dataclass(frozen=True)
class _Columns:
    """The places of the columns in a row."""

    path: int
    label: int
    split: int | None = None
    role: int | None = None
    num: int = 2
    has_header: bool = False


def read_table(file: Path) -> tuple[list[ListedImage], list[str]]:
    """Read a list of images.

    A row with an image is no header. Without a header there are a path and a label, in any order, and as the third
    column maybe a split.

    Returns:
        The rows, and notes on columns that are not read.

    Raises:
        Error: the file cannot be read, its columns are unclear, or a row does not fit them.
    """
    rows = ((line, row) for line, row in _split_rows(file) if any(row))  # Excel may write rows of empty cells
    first = next(rows, None)
    if first is None:
        raise Error(f"{file} is empty. Add lines with a path and a label.")
    columns, notes = _find_columns(file, *first)
    images = [] if columns.has_header else [_image(file, columns, *first)]
    return images + [_image(file, columns, *row) for row in rows], notes


def _split_rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the stripped cells of each row, split as the file's name and first line ask for."""
    suffix = file.suffix.lower()
    if suffix == ".csv":
        rows = read_any_rows(file, delimiter=_delimiter(file))
        yield from ((line, _stripped(row)) for line, row in rows)
        return
    with_tabs = suffix == ".tsv"
    for line, row in read_any_rows(file, tabs=True):
        with_tabs = with_tabs or len(row) > 1
        if with_tabs:
            yield line, _stripped(row)
            continue
        cells = row[0].split()
        if len(cells) == 1 and "," in row[0]:
            cells = next(csv.reader(row))
        if cells:
            yield line, _stripped(cells)


def _delimiter(file: Path) -> str:
    """Return the delimiter with which the first row of a CSV file has a path and a label; if there is none, a comma."""
    for delimiter in CSV_DELIMITERS:
        with suppress(Error):
            line, row = next(read_any_rows(file, delimiter=delimiter), (1, []))
            _find_columns(file, line, _stripped(row))
            return delimiter
    return CSV_DELIMITERS[0]


def _stripped(row: Sequence[str]) -> list[str]:
    return [cell.strip() for cell in row]


def _is_image(cell: str) -> bool:
    return cell.lower().endswith(SUFFIXES)


def _find_columns(file: Path, line: int, row: list[str]) -> tuple[_Columns, list[str]]:
    if len(row) == 1:
        raise Error(
            f"{file}:{line} has one cell: {short(row)}. Separate the cells by commas, semicolons or tabs in .csv, by"
            " tabs in .tsv, and by tabs or blanks in other lists."
        )
    if any(map(_is_image, row)):
        return _columns_without_header(file, line, row), []
    found: dict[str, int] = {}
    for place, name in enumerate(row):
        column = _COLUMN_OF.get(_plain(name))
        if column in found:
            both = short([row[found[column]], name])
            raise Error(f"{file}:{line} has two columns for the {column}: {both}. Rename one.")
        if column:
            found[column] = place
    others = [place for place, name in enumerate(row) if name and place not in found.values()]
    if "label" not in found and [_plain(row[place]) for place in others] == ["id"]:
        found["label"] = others.pop()  # next to other columns, an id may number the images
    for column in ("path", "label"):
        if column not in found:
            known = ", ".join(SYNONYMS[column][:MAX_LISTED])
            raise Error(
                f"{file}:{line} has no image ({', '.join(SUFFIXES)}) and no column for the {column}: {short(row)}."
                f" Name the column one of {known}."
            )
    unread = ", ".join(row[place] for place in others)
    notes = [f"columns of {file.name} were skipped: {short(unread)}"] if unread else []
    return _Columns(**found, num=len(row), has_header=True), notes


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def _columns_without_header(file: Path, line: int, row: list[str]) -> _Columns:
    if len(row) not in (2, 3) or _is_image(row[0]) == _is_image(row[1]) or (len(row) == 3 and not split_of(row[2])):
        raise Error(
            f"{file}:{line} is not a path and a label: {short(row)}. Put paths with commas into quotes, separate paths"
            " with blanks by tabs, or add a header such as path,label,split,role."
        )
    path = 0 if _is_image(row[0]) else 1
    return replace(_Columns(path, 1 - path, num=len(row)), split=2 if len(row) == 3 else None)


def _image(file: Path, columns: _Columns, line: int, row: list[str]) -> ListedImage:
    if len(row) != columns.num:
        raise Error(
            f"{file}:{line} has {len(row)} cells instead of {columns.num}: {short(row)}. Put paths with commas into"
            " quotes, and separate paths with blanks by tabs."
        )
    label = same_form(row[columns.label])
    role = None if columns.role is None else same_form(row[columns.role])
    for what, text in (("label", label), ("role", role)):
        if text == "" or (text and split_of(text)):
            wrong = f"the split's name {text!r}" if text else "nothing"
            raise Error(f"{file}:{line} has {wrong} as {what}. Correct it, or name the columns in a header.")
    split = None
    if columns.split is not None:
        split = split_of(row[columns.split])
        if split is None:
            raise Error(f"{file}:{line} has the split {short(row[columns.split])}, which is not {KNOWN}. Correct it.")
    return ListedImage(line, row[columns.path], label, split, role)
