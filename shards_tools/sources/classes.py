"""Sources whose train, val and test share the classes and are given as lists of images, such as DAF:re."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from shards_tools.errors import Error
from shards_tools.problems import Problem
from shards_tools.sources.lists import number, read_rows, short
from shards_tools.sources.names import same_form
from shards_tools.sources.paths import distinct_keys, key_of, list_images, note_unnamed, take_listed, visible
from shards_tools.sources.source import Source, SourceImage
from shards_tools.sources.split_names import refuse_unread_splits, split_of
from shards_tools.splits import SPLIT_NAMES, TEST, TRAIN, VAL

LIST_NAMES = {TRAIN: "train", VAL: "val", TEST: "test"}


class Row(NamedTuple):
    """One line of a list of images."""

    line: int
    class_id: int
    path: str  # below the folder of images
    tags: tuple[str, ...] = ()


RowReader = Callable[[Path], Iterable[Row]]


@dataclass(frozen=True)
class ClassLists:
    """The files and folders of a source of classes."""

    name: str
    tree: Path
    images: Path
    class_names: Path  # rows of class_id,class_name
    lists: Mapping[int, Path]  # split code -> list of images


def read_images(file: Path) -> Iterator[Row]:
    """Yield the rows of a list without header: class_id,path."""
    for line, (class_id, path) in read_rows(file, 2):
        yield Row(line, number(class_id, file, line, "class id"), path)


def scan_classes(parts: ClassLists, read: RowReader = read_images) -> Source:
    """Scan every image that a list names; classes are ordered by id.

    Images that no list names, and classes without images, are skipped with a note. The source's `missing` has the rows
    whose image is missing.

    Raises:
        Error: the folder is missing, an image is in two rows, a class id has no name, or a class of val or test has no
            image in train.
    """
    if not parts.images.is_dir():
        raise Error(f"{parts.images} is missing. Put the images of {parts.lists[TRAIN]} there.")
    names = read_class_names(parts.class_names)
    _refuse_other_lists(parts)
    unnamed = list_images(parts.images, parts.tree)
    ids, images = [], []
    missing: list[Problem] = []
    places: dict[str, str] = {}
    for code, file in parts.lists.items():
        for row in read(file):
            if row.class_id not in names:
                raise Error(
                    f"{file}:{row.line} has the class id {row.class_id}, which is not in {parts.class_names}."
                    " Add it there."
                )
            path = take_listed(row.path, parts.images, unnamed, places, f"{file}:{row.line}", missing)
            if path is None:
                continue
            images.append(_image(parts.images, path, row.tags, names[row.class_id], code))
            ids.append(row.class_id)
    notes = note_unnamed(unnamed, parts.images, parts.tree, "not in any list")
    if len(set(ids)) < len(names):
        notes.append(
            f"{len(names) - len(set(ids)):,} classes of {parts.class_names.name} were skipped: they have no image"
        )
    used = {class_id: names[class_id] for class_id in sorted(set(ids))}
    if list(used) != list(range(len(used))):
        notes.append("class ids were renumbered from 0 in order, so they differ from those of other programs")
    source = source_of_classes(parts.name, tuple(used.values()), images, notes, missing=missing)
    inside = {parts.images, parts.class_names, *parts.lists.values()}
    inside |= {file.parent for file in inside}
    return replace(source, left_out=tuple(entry for entry in visible(parts.tree) if entry not in inside))


def _refuse_other_lists(parts: ClassLists) -> None:
    """Refuse a list of a split that would not be read, such as valid.csv."""
    lists = [f"{name}.csv" for name in LIST_NAMES.values()]
    unread = set(LIST_NAMES.values()) - {LIST_NAMES[code] for code in parts.lists}
    entries = [entry for entry in visible(parts.lists[TRAIN].parent) if entry.suffix.lower() == ".csv"]
    refuse_unread_splits((entry for entry in entries if split_of(entry.stem) in unread), lists)


def read_class_names(file: Path) -> dict[int, str]:
    """Read class id -> name from a file without header: class_id,class_name.

    Raises:
        Error: the file is not valid, or repeats an id or a name.
    """
    names: dict[int, str] = {}
    lines: dict[str, int] = {}
    for line, (class_id, written) in read_rows(file, 2):
        number_of_class, name = number(class_id, file, line, "class id"), same_form(written)
        if number_of_class in names:
            raise Error(f"{file}:{line} repeats the class id {number_of_class}. Remove one of the two lines.")
        if name in lines:
            raise Error(f"{file}:{line} repeats the class name {short(name)} of line {lines[name]}. Rename one.")
        names[number_of_class], lines[name] = name, line
    return names


def source_of_classes(
    name: str,
    works: Sequence[str],
    images: Sequence[SourceImage],
    notes: Sequence[str],
    cut: Sequence[int] = (),
    missing: Sequence[Problem] = (),
) -> Source:
    """Return the source with the images sorted by split and class; within a class they keep their order.

    Args:
        name: of the source.
        works: the names of the classes, in the order of their ids.
        images: train, val and test together, in any order.
        notes: changes to the source that affect how results are read.
        cut: splits (VAL, or VAL and TEST) that the build takes from each class's train images.
        missing: images that are not there. If there are any, the build leaves out classes without an image in train.

    Raises:
        Error: there are no images, or nothing is missing and there is a train, but a class of val or test has no image
            in it.
    """
    if not images:
        example = f": {missing[0].path} {missing[0].reason}" if missing else ""
        raise Error(f"The {name} source has no images{example}. Check its lists.")
    trained = {image.work for image in images if image.split_code == TRAIN}
    for image in images:
        if trained and image.work not in trained and not missing:
            split = SPLIT_NAMES[image.split_code]
            raise Error(
                f"{image.path} is in {split}, but its class {image.work!r} has no image in train. Add one to train."
            )
    place = {work: number for number, work in enumerate(works)}
    ordered = sorted(images, key=lambda image: (image.split_code, place[image.work]))
    return Source(
        name,
        "classes",
        tuple(works),
        tuple(distinct_keys(ordered)),
        notes=tuple(notes),
        cut=tuple(cut),
        missing=tuple(missing),
    )


def note_cut(cut: Sequence[int]) -> list[str]:
    """Return the note for a source whose val, or val and test, the build takes from train."""
    if not cut:
        return []
    names = " and ".join(SPLIT_NAMES[code] for code in cut)
    return [f"the source has no {names}: taken from each class of train with a fixed seed; image copies may be in both"]


def _image(folder: Path, path: str, tags: tuple[str, ...], work: str, code: int) -> SourceImage:
    key = key_of(path.rpartition(".")[0].split("/"))
    return SourceImage(folder / path, key, work, work, code, tags=tags)
