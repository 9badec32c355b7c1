"""Lists of images with their labels: one file with a column for the split, or one file per split in a folder.

Paths are relative to the folder of the list. With a column for the role the images are works with roles; without one,
query and gallery make them identities, and else they are classes. tables.py reads the forms of a list.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shards_tools.errors import Error
from shards_tools.problems import Problem
from shards_tools.sources.classes import note_cut, source_of_classes
from shards_tools.sources.paddle_lists import source_of_identities
from shards_tools.sources.paths import distinct_keys, key_of, list_images, note_unnamed, take_listed, visible
from shards_tools.sources.source import Source, SourceImage
from shards_tools.sources.split_names import split_of
from shards_tools.sources.tables import LIST_SUFFIXES, ListedImage, read_table
from shards_tools.splits import TEST, TEST_GALLERY, TEST_QUERY, TRAIN, VAL

CLASS_CODES = {"train": TRAIN, "val": VAL, "test": TEST}
RANKED_CODES = {"train": TRAIN, "query": TEST_QUERY, "gallery": TEST_GALLERY, "test": TEST_GALLERY}


@dataclass(frozen=True)
class _Listed:
    """An image of a list, and the image's file."""

    path: str  # below the folder of the lists
    split: str | None
    row: ListedImage


def scan(source: Path) -> Source:
    """Scan every image that the lists name.

    Args:
        source: a list, or the folder that holds one list or one per split.

    Raises:
        Error: there is no list, it is not valid, or an image is missing.
    """
    source = Path(source)
    lists = _find_lists(source)
    root = source if source.is_dir() else source.parent
    unnamed = list_images(root, root)
    listed: list[_Listed] = []
    notes: list[str] = []
    places: dict[str, str] = {}
    missing: list[Problem] = []
    for split, file in lists.items():
        rows, of_file = read_table(file)
        notes += of_file
        for row in rows:
            if row.split and len(lists) > 1:
                raise Error(f"{file}:{row.line} has a split, but the file's name is one too. Remove the column.")
            path = take_listed(row.path, root, unnamed, places, f"{file}:{row.line}", missing)
            if path is not None:
                listed.append(_Listed(path, row.split or split, row))
    notes += note_unnamed(unnamed, root, root, "not in any list")
    used = {*lists.values(), *(root / path.split("/")[0] for path in places)}
    left_out = tuple(entry for entry in visible(root) if entry not in used) if source.is_dir() else ()
    return replace(_source(root, listed, notes, missing), left_out=left_out)


def _find_lists(source: Path) -> dict[str | None, Path]:
    """Return split -> list; None is the split of a list whose name is none."""
    if source.is_file():
        if source.suffix.lower() not in LIST_SUFFIXES:
            raise Error(f"{source} is not a list: its suffix must be one of {', '.join(LIST_SUFFIXES)}. Rename it.")
        return {split_of(source.stem): source}
    if not source.is_dir():
        raise Error(f"{source} does not exist. Give a list of images, or the folder that holds lists.")
    files = [file for file in visible(source) if file.suffix.lower() in LIST_SUFFIXES and file.is_file()]
    found: dict[str | None, Path] = {}
    for file in files:
        split = split_of(file.stem)
        if split in found and split is not None:
            raise Error(f"{found[split]} and {file} both mean {split}. Merge them or rename one.")
        if split is not None:
            found[split] = file
    if found or len(files) == 1:
        return found or {None: files[0]}
    names = ", ".join(file.name for file in files[:3]) or "none"
    raise Error(
        f"{source} needs one list, or one per split such as train.csv and test.csv ({', '.join(LIST_SUFFIXES)}); it has"
        f" {names}. Rename them, or give one list as SOURCE."
    )


def _source(root: Path, listed: Sequence[_Listed], notes: list[str], missing: list[Problem]) -> Source:
    splits = {image.split for image in listed}
    has_roles = {image.row.role is not None for image in listed}
    if len(has_roles) == 2:
        raise Error(f"{root} has lists with a column for the role and lists without. Add it to all or to none.")
    ranked = has_roles == {True} or not splits.isdisjoint(("query", "gallery"))
    codes = RANKED_CODES if ranked else CLASS_CODES
    _check_splits(root, splits, codes)
    images = [_image(root, image, codes[image.split or "train"]) for image in listed]
    if not ranked:
        cut = (VAL, TEST) if splits == {None} else (VAL,) if "train" in splits and "val" not in splits else ()
        works = sorted({image.work for image in images}, key=_order)
        return source_of_classes("list", works, images, [*notes, *note_cut(cut)], cut, missing)
    if has_roles != {True}:
        return source_of_identities("list", images, notes, missing, _order)
    works = sorted({image.work for image in images}, key=_order)
    images = distinct_keys(sorted(images, key=lambda image: (image.split_code, image.role)))
    return Source("list", "plain", tuple(works), tuple(images), notes=tuple(notes), missing=tuple(missing))


def _check_splits(root: Path, splits: set[str | None], codes: dict[str, int]) -> None:
    for split in sorted(filter(None, splits)):
        if split not in codes:
            raise Error(f"{root} lists {split}, but val of works and identities is taken from train. List it as train.")
    if codes is RANKED_CODES:
        if {"gallery", "test"} <= splits:
            raise Error(f"{root} lists both gallery and test, and either is the gallery of query. Merge them.")
        if ("query" in splits) != bool(splits & {"gallery", "test"}):
            missing = "gallery" if "query" in splits else "query"
            raise Error(f"{root} lists no {missing}: a query is searched in a gallery. Add it or remove the other.")


def _image(root: Path, image: _Listed, code: int) -> SourceImage:
    key = key_of(image.path.rpartition(".")[0].split("/"))
    label, role = image.row.label, image.row.role
    return SourceImage(root / image.path, key, label, label if role is None else f"{label}/{role}", code)


def _order(label: str) -> tuple[bool, int, str]:
    """Sort key: labels that are numbers by value, then the others."""
    is_number = label.isascii() and label.isdecimal() and len(label) < 19
    return not is_number, int(label) if is_number else 0, label
