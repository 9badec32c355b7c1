"""Any folder of images: CLASS/IMAGE or WORK/ROLE/IMAGE, distinguished by depth.

The top level may be train, val and test, with classes below, or train, query and test, with works and roles below.
If val or test of classes is missing, the build takes it from train. Names may be any text.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from shards_tools.errors import Error
from shards_tools.sources.classes import note_cut, source_of_classes
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
from shards_tools.splits import TEST, TEST_GALLERY, TEST_QUERY, TRAIN, VAL

CLASS_PARTS = {"train": TRAIN, "val": VAL, "test": TEST}
WORK_PARTS = {"train": TRAIN, "query": TEST_QUERY, "test": TEST_GALLERY}
LAYOUTS = "CLASS/IMAGE or WORK/ROLE/IMAGE"


@dataclass(frozen=True)
class _File:
    """An image and the names of the folders between it and its part."""

    path: Path
    part: str  # "" if the folder has no parts
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
        raise Error(f"{root} holds no images. Add some as {LAYOUTS}.")
    depth = len(files[0].folders)
    for file in files:
        if len(file.folders) != depth:
            raise Error(f"{files[0].path} and {file.path} are at different depths. Arrange all images as {LAYOUTS}.")
    scanned = _classes(files, set(parts), root) if depth == 1 else _works(files, set(parts), root)
    return replace(scanned, left_out=tuple(left_out), notes=(*scanned.notes, *note_others(others, root)))


def _find_parts(root: Path) -> tuple[dict[str, Path], list[Path]]:
    """Return part -> folder (`""` -> the root if it has no parts) and the files next to them."""
    entries = visible(root)
    folders = {entry.name: entry for entry in entries if entry.is_dir() or entry.is_symlink()}
    left_out = [entry for entry in entries if entry.name not in folders]
    if "train" not in folders:
        if folders and not folders.keys() - CLASS_PARTS.keys() - WORK_PARTS.keys():
            raise Error(f"{root / 'train'} is missing, but {root} has {', '.join(sorted(folders))}. Add train.")
        return {"": root}, left_out
    for name in folders.keys() - CLASS_PARTS.keys() - WORK_PARTS.keys():
        raise Error(f"{root / name} is next to train, but is not val, test or query. Move it or rename it.")
    order = [name for name in ("train", "val", "query", "test") if name in folders]
    return {name: folders[name] for name in order}, left_out


def _walk(place: Path, root: Path, part: str, above: tuple[str, ...], others: list[Path]) -> Iterator[_File]:
    """Yield the images below `place`, one or two folders deep, and append files of other kinds to `others`."""
    refuse_link_out(place, root)
    entries = visible(place)
    empty = place != root
    for entry in entries:
        if entry.is_symlink():
            refuse_link_out(entry, root)
        if entry.is_dir():
            if len(above) == 2:
                raise Error(f"{entry} is too deep: the layout is {LAYOUTS}. Move it or remove it.")
            yield from _walk(entry, root, part, (*above, entry.name), others)
        elif place == root or not is_image(entry, others):
            continue
        elif not above:
            raise Error(f"{entry} is not in a class: the layout is {LAYOUTS}. Move it or remove it.")
        else:
            yield _File(entry, part, above)
        empty = False
    if empty:
        raise Error(f"{place} is empty. Add images or remove it.")


def _classes(files: list[_File], parts: set[str], root: Path) -> Source:
    if "query" in parts:
        raise Error(
            f"{root / 'query'} is only for WORK/ROLE/IMAGE, but the images are CLASS/IMAGE. Rename it val or test."
        )
    cut = (VAL, TEST) if parts == {""} else () if "val" in parts else (VAL,)
    works = sorted({file.folders[0] for file in files})
    images = [_image(file, file.folders[0], CLASS_PARTS.get(file.part, TRAIN)) for file in files]
    return source_of_classes("folder", works, images, note_cut(cut), cut)


def _works(files: list[_File], parts: set[str], root: Path) -> Source:
    if "val" in parts:
        raise Error(f"{root / 'val'} is only for CLASS/IMAGE: val of works is taken from train. Move it into train.")
    if ("query" in parts) != ("test" in parts):
        missing = "test" if "query" in parts else "query"
        raise Error(f"{root / missing} is missing: query and test belong together. Add it or remove the other.")
    works = tuple(sorted({file.folders[0] for file in files}))
    images = [_image(file, "/".join(file.folders), WORK_PARTS.get(file.part, TRAIN)) for file in files]
    return Source("folder", "plain", works, tuple(distinct_keys(images)))


def _image(file: _File, role: str, code: int) -> SourceImage:
    parts = (*([file.part] if file.part else []), *file.folders, file.path.stem)
    return SourceImage(file.path, key_of(parts), file.folders[0], role, code)
