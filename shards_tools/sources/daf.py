r"""DAF by grapeot: head boxes of Danbooru2018 in faces.tsv. DAF:re was made from it; the rules here are its authors'.

ROOT/faces.tsv has BUCKET\ID.jpg, tag id and detection, separated by tabs; ROOT/tagIds.tsv has tag name and id. The
crops are in ROOT/faces/BUCKET/ID.jpg or ROOT/BUCKET/ID.jpg; a bucket has three or four digits. A crop is kept if its
confidence is at least 0.85, it is RGB, and its class has at least 20 such crops. Classes are renumbered in the order of
their tag ids, and each class is split in file order.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from shards_tools.decode import BROKEN
from shards_tools.errors import Error
from shards_tools.sources.classes import source_of_classes
from shards_tools.sources.lists import number, read_rows, short
from shards_tools.sources.paths import key_of, list_images, note_unnamed, require_folder, visible
from shards_tools.sources.source import Source, SourceImage
from shards_tools.splits import TEST, TRAIN, VAL, split_in_file_order

MIN_CONFIDENCE = 0.85
MIN_IMAGES = 20  # per class
FILE = re.compile(r"(\d{1,4})[\\/](\d+)\.jpg", re.ASCII)
BUCKET = re.compile(r"\d{3,4}", re.ASCII)
NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
# "0.448534, 0.441995, 0.584106, 0.654420 0.337403": left, top, right, bottom, confidence; separated by commas or spaces
DETECTION = re.compile(rf"\s*{NUMBER}(?:[\s,]+{NUMBER}){{3}}[\s,]+({NUMBER})\s*", re.ASCII)


@dataclass
class _Found:
    """The crops that pass the filters, and how many rows each filter drops."""

    crops: dict[int, list[Path]] = field(default_factory=dict)  # tag id -> its crops in file order
    num_unsure: int = 0
    num_missing: int = 0
    num_not_rgb: int = 0


def scan(folder: Path) -> Source:
    """Scan the crops that pass the filters, split by the authors' rule; a note counts the rows without a crop.

    Raises:
        Error: a list is not valid, or no class has enough crops.
    """
    root = require_folder(Path(folder), "faces.tsv, tagIds.tsv and the buckets of crops")
    names = _read_tags(root / "tagIds.tsv")
    place = root / "faces" if (root / "faces").is_dir() else root
    buckets = [entry for entry in visible(place) if BUCKET.fullmatch(entry.name)]
    unnamed = _list_crops(buckets, root)
    found = _filter(root / "faces.tsv", names, unnamed)
    large = {tag: found.crops[tag] for tag in sorted(found.crops) if len(found.crops[tag]) >= MIN_IMAGES}
    if not large:
        raise Error(
            f"{root} has no class with {MIN_IMAGES} crops that pass the filters; dropped: {_count(found)}."
            " Check faces.tsv and the crops."
        )
    images = [image for tag, crops in large.items() for image in _split(names[tag], crops)]
    works = [names[tag] for tag in large]
    _refuse_equal_names(large, names, root / "tagIds.tsv")
    notes = [
        f"rows of faces.tsv were skipped: {_count(found)}",
        f"{len(found.crops) - len(large):,} classes were skipped: they have fewer than {MIN_IMAGES} images",
        *note_unnamed([str(crop) for crop in unnamed.values()], root, root, "not in faces.tsv"),
    ]
    used = {root / "faces.tsv", root / "tagIds.tsv", place, *buckets}
    left_out = tuple(entry for entry in visible(root) if entry not in used)
    return replace(source_of_classes("daf", works, images, notes), left_out=left_out)


def _read_tags(file: Path) -> dict[int, str]:
    names: dict[int, str] = {}
    for line, (name, tag) in read_rows(file, 2, tabs=True):
        if names.setdefault(number(tag, file, line, "tag id"), name) != name:
            raise Error(f"{file}:{line} repeats the tag id {tag} with another name. Remove one of the two lines.")
    return names


def _list_crops(buckets: list[Path], root: Path) -> dict[tuple[str, str], Path]:
    """Return (four-digit bucket, id) -> crop."""
    crops: dict[tuple[str, str], Path] = {}
    for bucket in buckets:
        for name in list_images(bucket, root):
            identifier = (bucket.name.zfill(4), name.rpartition(".")[0])
            if identifier in crops:
                raise Error(f"{crops[identifier]} and {bucket / name} have the same bucket and id. Remove one of them.")
            crops[identifier] = bucket / name
    return crops


def _read_faces(file: Path, names: dict[int, str]) -> Iterator[tuple[int, tuple[str, str], int, float]]:
    """Yield line, (bucket, id), tag and confidence of each row."""
    for line, (path, tag_text, detection) in read_rows(file, 3, tabs=True):
        place, box = FILE.fullmatch(path.strip()), DETECTION.fullmatch(detection)
        if not place:
            raise Error(rf"{file}:{line} has the file {short(path)}, which is not BUCKET\ID.jpg in digits. Correct it.")
        if not box:
            raise Error(f"{file}:{line} has the detection {short(detection)}, which is not five numbers. Correct it.")
        tag = number(tag_text, file, line, "tag id")
        if tag not in names:
            raise Error(f"{file}:{line} has the tag id {tag}, which is not in tagIds.tsv. Add it there.")
        yield line, (place[1].zfill(4), place[2]), tag, float(box[1])


def _filter(file: Path, names: dict[int, str], crops: dict[tuple[str, str], Path]) -> _Found:
    """Filter the rows, and remove the crops that they name from `crops`."""
    found = _Found()
    lines: dict[tuple[str, str], int] = {}
    for line, identifier, tag, confidence in _read_faces(file, names):
        if lines.setdefault(identifier, line) != line:
            raise Error(f"{file}:{line} repeats the image of line {lines[identifier]}. Remove one of the two lines.")
        crop = crops.pop(identifier, None)
        if confidence < MIN_CONFIDENCE:
            found.num_unsure += 1
        elif crop is None:
            found.num_missing += 1
        elif not _is_rgb(crop):
            found.num_not_rgb += 1
        else:
            found.crops.setdefault(tag, []).append(crop)
    return found


def _is_rgb(crop: Path) -> bool:
    """Return whether the header says RGB; True for a broken image, which the build reports."""
    try:
        with Image.open(crop, formats=("JPEG", "PNG")) as image:
            return bool(image.mode == "RGB")
    except BROKEN:
        return True


def _count(found: _Found) -> str:
    return (
        f"{found.num_unsure:,} with a confidence below {MIN_CONFIDENCE}, {found.num_missing:,} without a crop,"
        f" {found.num_not_rgb:,} not RGB"
    )


def _split(work: str, crops: list[Path]) -> Iterator[SourceImage]:
    num_train, num_val, _ = split_in_file_order(len(crops))
    for place, crop in enumerate(crops):
        code = TRAIN if place < num_train else VAL if place < num_train + num_val else TEST
        key = key_of((crop.parent.name.zfill(4), crop.stem))
        yield SourceImage(crop, key, work, work, code)


def _refuse_equal_names(tags: dict[int, list[Path]], names: dict[int, str], file: Path) -> None:
    for name, count in Counter(names[tag] for tag in tags).items():
        if count > 1:
            raise Error(f"{file} has {count} tags named {name!r}. Rename all but one.")
