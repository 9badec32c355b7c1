"""Identities in the lists that PaddleClas reads: train_list.txt, query.txt and gallery.txt, lines of PATH<TAB>LABEL.

Paths are relative to the folder of the lists. The pictures are not cropped: they are crops already. The recall@1 of
83.24 in PaddleClas's documentation is for lists that were never published, so no result is comparable with it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from shards_tools.errors import Error
from shards_tools.manifest import DISTRACTOR
from shards_tools.problems import Problem
from shards_tools.sources.lists import number, read_rows
from shards_tools.sources.paths import distinct_keys, key_of, list_images, note_unnamed, take_listed, visible
from shards_tools.sources.source import Source, SourceImage
from shards_tools.sources.split_names import refuse_unread_splits, split_of
from shards_tools.splits import TEST_GALLERY, TEST_QUERY, TRAIN

TRAIN_LIST = "train_list.txt"
LISTS = {TRAIN: TRAIN_LIST, TEST_QUERY: "query.txt", TEST_GALLERY: "gallery.txt"}
DISTRACTOR_LABEL = "-1"
VAL_NOTE = "val is a fifth of train's identities, by a fixed seed; their images are split 4:6 into query and gallery"


def scan(root: Path) -> Source:
    """Scan every image of the lists: train, or query and gallery, or all three.

    Raises:
        Error: a list is missing or not valid.
    """
    files = {code: root / name for code, name in LISTS.items() if (root / name).is_file()}
    if (TEST_QUERY in files) != (TEST_GALLERY in files):
        absent = LISTS[TEST_GALLERY if TEST_QUERY in files else TEST_QUERY]
        raise Error(f"{root / absent} is missing: query and gallery belong together. Add it or remove the other.")
    other = [entry for entry in visible(root) if entry.suffix == ".txt" and entry not in files.values()]
    unread = {split_of(Path(name).stem) for code, name in LISTS.items() if code not in files}
    refuse_unread_splits((entry for entry in other if split_of(entry.stem) in unread), LISTS.values())
    unnamed = list_images(root, root)
    folders = {entry for entry in visible(root) if entry.is_dir()}
    images: list[SourceImage] = []
    places: dict[str, str] = {}
    missing: list[Problem] = []
    for code, file in files.items():
        for line, (listed, label) in read_rows(file, 2, tabs=True):
            path = take_listed(listed, root, unnamed, places, f"{file}:{line}", missing)
            if path is None:
                continue
            work = _work(label, code, file, line)
            key = key_of(path.rpartition(".")[0].split("/"))
            images.append(SourceImage(root / path, key, work, work, code))
    notes = note_unnamed(unnamed, root, root, "not in any list")
    source = source_of_identities("icartoonface", images, notes, missing)
    left_out = tuple(entry for entry in visible(root) if entry not in folders and entry not in files.values())
    return replace(source, left_out=left_out)


def _order(work: str) -> tuple[int, int, str]:
    """Sort key: train, then test, then distractors, each by number."""
    part, _, label = work.partition("_")
    return ("train", "test", DISTRACTOR).index(part), int(label) if label.isdigit() else 0, label


def source_of_identities(
    name: str,
    images: Sequence[SourceImage],
    notes: Sequence[str],
    missing: Sequence[Problem] = (),
    order: Callable[[str], Any] = _order,
) -> Source:
    """Return the source with the images sorted by split and identity.

    Args:
        name: of the source.
        images: of all splits, in any order; of one identity they keep their order.
        notes: changes to the source that affect how results are read.
        missing: images that are not there.
        order: sort key of the identities; by default train's come first.

    Raises:
        Error: there are no images.
    """
    if not images:
        example = f": {missing[0].path} {missing[0].reason}" if missing else ""
        raise Error(f"The {name} source has no images{example}. Check its lists.")
    works = sorted({image.work for image in images}, key=order)
    place = {work: number for number, work in enumerate(works)}
    ordered = distinct_keys(sorted(images, key=lambda image: (image.split_code, place[image.work])))
    if ordered[0].split_code == TRAIN:
        notes = [*notes, VAL_NOTE]
    return Source(name, "identities", tuple(works), tuple(ordered), notes=tuple(notes), missing=tuple(missing))


def _work(label: str, code: int, file: Path, line: int) -> str:
    """Return the identity's name; the test lists have their own numbers, so equal labels are different identities."""
    if code != TRAIN and label == DISTRACTOR_LABEL:
        return DISTRACTOR
    return f"{'train' if code == TRAIN else 'test'}_{number(label, file, line, 'label')}"
