"""iCartoonFace: faces in whole pictures, in the official layout or as the lists that PaddleClas reads.

The official layout has personai_icartoonface_rectrain/icartoonface_rectrain/ID/*.jpg with icartoonface_rectrain_det.txt
(path and box), and personai_icartoonface_rectest/icartoonface_rectest/*.jpg with icartoonface_rectest_info.txt. A line
of the latter has six fields (file, box and label; -1 is a distractor) or two (a pair of one identity). Boxes are
doubled around their center, as PaddleClas trains on them; the build clips them to the picture. Train and test share no
identity.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from shards_tools.errors import Error
from shards_tools.manifest import DISTRACTOR
from shards_tools.problems import Problem
from shards_tools.sources import paddle_lists
from shards_tools.sources.lists import number, read_any_rows, short
from shards_tools.sources.paddle_lists import DISTRACTOR_LABEL, source_of_identities
from shards_tools.sources.paths import (
    key_of,
    list_images,
    note_unnamed,
    refuse_link_out,
    require_folder,
    take_listed,
    visible,
)
from shards_tools.sources.source import Source, SourceImage
from shards_tools.splits import TEST_GALLERY, TEST_QUERY, TRAIN

TRAIN_PLACE = Path("personai_icartoonface_rectrain")
TEST_PLACE = Path("personai_icartoonface_rectest")
TRAIN_IMAGES, TRAIN_LIST = "icartoonface_rectrain", "icartoonface_rectrain_det.txt"
TEST_IMAGES, TEST_LIST = "icartoonface_rectest", "icartoonface_rectest_info.txt"
IDENTITY_NAME = "personai_icartoonface_rectrain_NUMBER"
IDENTITY = re.compile(IDENTITY_NAME.replace("NUMBER", r"(\d{1,9})"), re.ASCII)

Box = tuple[int, int, int, int]


@dataclass
class _Test:
    """The images of the test list, and its pairs of files."""

    images: list[SourceImage] = field(default_factory=list)
    pairs: list[tuple[int, str, str]] = field(default_factory=list)  # line, file, file


def scan(folder: Path) -> Source:
    """Scan every face of the lists; the folder of train or that of the test may be missing.

    Raises:
        Error: a part of the tree is missing, or its lists and images do not match.
    """
    root = require_folder(Path(folder), f"{TRAIN_PLACE} and {TEST_PLACE}, or train_list.txt")
    if any((root / name).is_file() for name in paddle_lists.LISTS.values()):
        return paddle_lists.scan(root)
    missing: list[Problem] = []
    train: list[SourceImage] = []
    test = _Test()
    notes: list[str] = []
    if (root / TRAIN_PLACE).is_dir() or (root / TRAIN_LIST).is_file():
        train, notes = _scan_train(root, missing)
    elif not (root / TEST_PLACE).is_dir():
        raise Error(f"{root} has neither {TRAIN_PLACE / TRAIN_IMAGES} nor {paddle_lists.TRAIN_LIST}. Add one of them.")
    if (root / TEST_PLACE).is_dir():
        test, test_notes = _scan_test(root, missing)
        notes += test_notes
    source = source_of_identities("icartoonface", [*train, *test.images], notes, missing)
    pairs = _places_of_pairs(source, test.pairs, root) if test.pairs else ()
    used = {TRAIN_PLACE.name, TEST_PLACE.name, TRAIN_LIST, TEST_LIST}
    left_out = tuple(entry for entry in visible(root) if entry.name not in used)
    return replace(source, left_out=left_out, pairs=pairs)


def double(box: Box) -> Box:
    """Double the width and height of a box (left, top, right, bottom) around its center, to half a pixel."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    left, top = left - width // 2, top - height // 2
    return left, top, left + 2 * width, top + 2 * height


def _scan_train(root: Path, missing: list[Problem]) -> tuple[list[SourceImage], list[str]]:
    folder = root / TRAIN_PLACE / TRAIN_IMAGES
    file = _find_list(root, TRAIN_PLACE, TRAIN_LIST)
    require_folder(folder, "the training images")
    unnamed = list_images(folder, root)
    images: list[SourceImage] = []
    places: dict[str, str] = {}
    for line, row in read_any_rows(file, tabs=True):
        listed, box = _face(row, 5, file, line)
        # In some copies of the list the paths start at a parent folder.
        listed = "/".join(listed.replace("\\", "/").split("/")[-2:])
        path = take_listed(listed, folder, unnamed, places, f"{file}:{line}", missing)
        if path is None:
            continue
        identity = IDENTITY.fullmatch(path.split("/")[0])
        if not identity:
            raise Error(f"{file}:{line} names {short(path)}, whose folder is not {IDENTITY_NAME}. Correct it.")
        key = key_of(("train", identity[1], Path(path).stem))
        work = f"train_{identity[1]}"
        images.append(SourceImage(folder / path, key, work, work, TRAIN, box=box))
    return images, note_unnamed(unnamed, folder, root, f"not in {TRAIN_LIST}")


def _scan_test(root: Path, missing: list[Problem]) -> tuple[_Test, list[str]]:
    folder = root / TEST_PLACE / TEST_IMAGES
    file = _find_list(root, TEST_PLACE, TEST_LIST)
    require_folder(folder, "the test images")
    unnamed = list_images(folder, root)
    found = _Test()
    places: dict[str, str] = {}
    for line, row in read_any_rows(file, tabs=True):
        fields = _fields(row)
        if len(fields) == 2:
            found.pairs.append((line, _name(fields[0]), _name(fields[1])))
            continue
        listed, box = _face(fields[:-1], 5, file, line)
        label = fields[-1]
        name = take_listed(_name(listed), folder, unnamed, places, f"{file}:{line}", missing)
        if name is None:
            continue
        key = key_of(("test", Path(name).stem))
        if label == DISTRACTOR_LABEL:
            work, code = DISTRACTOR, TEST_GALLERY
        else:
            work, code = f"test_{number(label, file, line, 'label')}", TEST_QUERY
        found.images.append(SourceImage(folder / name, key, work, work, code, box=box))
    return found, note_unnamed(unnamed, folder, root, f"not in {TEST_LIST}")


def _find_list(root: Path, place: Path, name: str) -> Path:
    """Find the list: in the root, next to the folder of images, or inside it."""
    places = [root / place / name, root / name, root / place / name.rpartition("_")[0] / name]
    for file in places:
        if file.is_file():
            refuse_link_out(file, root)
            return file
    raise Error(f"{places[0]} is missing. Add this list of face boxes.")


def _fields(row: Sequence[str]) -> list[str]:
    return " ".join(row).split()  # separated by tabs or spaces: no official name has any


def _face(row: Sequence[str], num_fields: int, file: Path, line: int) -> tuple[str, Box]:
    """Parse path, left, top, right, bottom; return the path and the doubled box."""
    fields = _fields(row)
    try:
        path, *numbers = fields
        left, top, right, bottom = (round(float(text)) for text in numbers)
    except (ValueError, OverflowError):
        raise Error(
            f"{file}:{line} is not a path and the four numbers of a box: {short(fields)}. Correct it."
        ) from None
    if not (left < right and top < bottom):
        raise Error(f"{file}:{line} has an empty box: {left} {top} {right} {bottom}. Correct it.")
    return path, double((left, top, right, bottom))


def _name(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _places_of_pairs(source: Source, pairs: Sequence[tuple[int, str, str]], root: Path) -> tuple[tuple[int, int], ...]:
    """Return the pairs as indices of images with the same labeled identity; pairs of missing images are left out."""
    file = _find_list(root, TEST_PLACE, TEST_LIST)
    images = source.images
    place = {image.path.name: number for number, image in enumerate(images) if image.split_code == TEST_QUERY}
    missing = {problem.path.name for problem in source.missing}
    pairs = [pair for pair in pairs if missing.isdisjoint(pair[1:])]
    for line, *names in pairs:
        for name in names:
            if name not in place:
                raise Error(
                    f"{file}:{line} pairs {short(name)}, which has no label in any line. Correct or remove the line."
                )
        first, second = (images[place[name]].work for name in names)
        if first != second:
            raise Error(
                f"{file}:{line} pairs images of two identities, {first} and {second}. Correct or remove the line."
            )
    return tuple((place[first], place[second]) for _, first, second in pairs)
