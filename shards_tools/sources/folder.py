"""Any folder of images: CLASS/IMAGE or WORK/ROLE/IMAGE, distinguished by depth.

The top level may be splits: train, val and test, with classes below, or train, query and gallery (or test), with works
and roles below. split_names.py knows their spellings. Without train, the shards are only for evaluation. If val or test
of classes is missing, the build takes it from train. Other names may be any text.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from shards_tools.errors import Error
from shards_tools.sources.cameras import FLAT_NAME
from shards_tools.sources.classes import note_cut, source_of_classes
from shards_tools.sources.names import refuse_equal_labels, refuse_odd_name, same_form
from shards_tools.sources.paths import (
    distinct_keys,
    is_image,
    key_of,
    note_others,
    refuse_link_out,
    require_folder,
    visible,
)
from shards_tools.sources.source import Source, SourceImage
from shards_tools.sources.split_names import KNOWN, split_of
from shards_tools.sources.tables import LIST_SUFFIXES
from shards_tools.splits import TEST, TEST_GALLERY, TEST_QUERY, TRAIN, VAL

CLASS_PARTS = {"train": TRAIN, "val": VAL, "test": TEST}
WORK_PARTS = {"train": TRAIN, "query": TEST_QUERY, "gallery": TEST_GALLERY, "test": TEST_GALLERY}
LAYOUTS = "CLASS/IMAGE or WORK/ROLE/IMAGE"


@dataclass(frozen=True)
class _File:
    """An image and the names of the folders between it and its part."""

    path: Path
    part: str  # train, val, test, query or gallery; "" if the folder has no parts
    folders: tuple[str, ...]


def scan(folder: Path) -> Source:
    """Scan every image of the folder, as classes or as works with roles.

    Raises:
        Error: the folder has another layout, or holds something that is not an image.
    """
    root = require_folder(Path(folder), LAYOUTS)
    parts, left_out = _find_parts(root)
    others: list[Path] = []
    files = [file for name, place in parts.items() for file in _walk(place, root, name, (), others)]
    if not files:
        raise Error(f"{root} has no images in folders. Add some as {LAYOUTS}.{_advise_list(root)}")
    depth = len(files[0].folders)
    for file in files:
        if len(file.folders) != depth:
            raise Error(f"{files[0].path} and {file.path} are at different depths. Arrange all images as {LAYOUTS}.")
    scanned = _classes(files, parts) if depth == 1 else _works(files, parts)
    return replace(scanned, left_out=tuple(left_out), notes=(*scanned.notes, *note_others(others, root)))


def _find_parts(root: Path) -> tuple[dict[str, Path], list[Path]]:
    """Return part -> folder (`""` -> the root if it has no parts) and the files next to them."""
    entries = visible(root)
    folders = [entry for entry in entries if entry.is_dir() or entry.is_symlink()]
    left_out = [entry for entry in entries if entry not in folders]
    found: dict[str, Path] = {}
    for entry in folders:
        split = split_of(entry.name)
        if split in found:
            raise Error(f"{found[split]} and {entry} both mean {split}. Merge them or rename one.")
        if split is not None:
            found[split] = entry
    if not found:
        return {"": root}, left_out
    for entry in folders:
        if entry not in found.values():
            first = min(place.name for place in found.values())
            raise Error(f"{entry} is next to {first}, but is not {KNOWN}. Move it or rename one of them.")
    return {split: found[split] for split in ("train", "val", "query", "gallery", "test") if split in found}, left_out


def _walk(place: Path, root: Path, part: str, above: tuple[str, ...], others: list[Path]) -> Iterator[_File]:
    """Yield the images below `place`, one or two folders deep, and append files of other kinds to `others`."""
    refuse_link_out(place, root)
    entries = visible(place)
    refuse_equal_labels(entry for entry in entries if entry.is_dir())
    empty = place != root
    for entry in entries:
        refuse_odd_name(entry)
        if entry.is_symlink():
            refuse_link_out(entry, root)
        if entry.is_dir():
            if split_of(entry.name):
                raise Error(
                    f"{entry} is named like a split, but is not directly in {root}. Build from {place}, or move it to"
                    f" {root}, or rename it."
                )
            if len(above) == 2:
                raise Error(f"{entry} is too deep: the layout is {LAYOUTS}. Move it or remove it.")
            yield from _walk(entry, root, part, (*above, entry.name), others)
        elif place == root or not is_image(entry, others):
            continue
        elif not above:
            raise Error(f"{entry} is not in a class: {_what_it_may_be(entry)}.{_advise_list(place)}")
        else:
            yield _File(entry, part, above)
        empty = False
    if empty:
        raise Error(f"{place} is empty. Add images or remove it.")


def _what_it_may_be(path: Path) -> str:
    if FLAT_NAME.match(path.name):
        return "its name is of Market-1501 or VeRi-776. Use market1501 or veri776"
    return f"the layout is {LAYOUTS}. Move it or remove it"


def _advise_list(folder: Path) -> str:
    """Return a sentence on `list` if a list next to images may hold their labels, as in Hugging Face's metadata.csv."""
    lists = [file for file in visible(folder) if file.suffix.lower() in LIST_SUFFIXES]
    return f" If {lists[0].name} holds their labels, build `list {folder}` instead." if lists else ""


def _classes(files: list[_File], parts: dict[str, Path]) -> Source:
    for name in ("query", "gallery"):
        if name in parts:
            raise Error(
                f"{parts[name]} is only for WORK/ROLE/IMAGE, but the images are CLASS/IMAGE. Rename it val or test."
            )
    cut = (VAL, TEST) if "" in parts else (VAL,) if "train" in parts and "val" not in parts else ()
    images = [_image(file, CLASS_PARTS.get(file.part, TRAIN)) for file in files]
    return source_of_classes("folder", sorted({image.work for image in images}), images, note_cut(cut), cut)


def _works(files: list[_File], parts: dict[str, Path]) -> Source:
    if "val" in parts:
        raise Error(f"{parts['val']} is only for CLASS/IMAGE: val of works is taken from train. Move it into train.")
    galleries = [parts[name] for name in ("gallery", "test") if name in parts]
    if len(galleries) == 2:
        raise Error(f"{galleries[0]} and {galleries[1]} are both a gallery of query. Merge them or remove one.")
    if ("query" in parts) != bool(galleries):
        found, missing = (parts["query"], "gallery") if "query" in parts else (galleries[0], "query")
        raise Error(f"{found} needs a folder {missing} next to it: a query is searched in a gallery. Add it.")
    images = [_image(file, WORK_PARTS.get(file.part, TRAIN)) for file in files]
    works = tuple(sorted({image.work for image in images}))
    return Source("folder", "plain", works, tuple(distinct_keys(images)))


def _image(file: _File, code: int) -> SourceImage:
    parts = (*([file.part] if file.part else []), *file.folders, file.path.stem)
    names = [same_form(name) for name in file.folders]
    return SourceImage(file.path, key_of(parts), names[0], "/".join(names), code)
