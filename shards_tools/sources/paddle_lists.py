"""Identities in the lists that PaddleClas reads: train_list.txt, query.txt and gallery.txt, lines of PATH<TAB>LABEL.

Paths are relative to the folder of the lists. The pictures are not cropped: they are crops already. The recall@1 of
83.24 in PaddleClas's documentation is for lists that were never published, so no result is comparable with it.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from shards_tools.errors import Error
from shards_tools.problems import Problem
from shards_tools.sources.lists import number, read_rows
from shards_tools.sources.paths import distinct_keys, key_of, list_images, note_unnamed, take_listed, visible
from shards_tools.sources.source import Source, SourceImage
from shards_tools.splits import TEST_GALLERY, TEST_QUERY, TRAIN

TRAIN_LIST = "train_list.txt"
LISTS = {TRAIN: TRAIN_LIST, TEST_QUERY: "query.txt", TEST_GALLERY: "gallery.txt"}
DISTRACTOR, DISTRACTOR_LABEL = "distractor", "-1"


def scan(root: Path) -> Source:
    """Scan every image of the lists; without query and gallery, only train.

    Raises:
        Error: a list is missing or not valid.
    """
    files = {code: root / name for code, name in LISTS.items() if (root / name).is_file()}
    if len(files) == 2:
        absent = next(name for code, name in LISTS.items() if code not in files)
        raise Error(f"{root / absent} is missing: query and gallery belong together. Add it or remove the other.")
    unnamed = list_images(root, root)
    folders = {entry for entry in visible(root) if entry.is_dir()}
    images: list[SourceImage] = []
    places: dict[str, str] = {}
    missing: list[Problem] = []
    for code, file in files.items():
        for line, (path, label) in read_rows(file, 2, tabs=True):
            if not take_listed(path, root, unnamed, places, f"{file}:{line}", missing):
                continue
            work = _work(label, code, file, line)
            key = key_of(path.rpartition(".")[0].split("/"))
            images.append(SourceImage(root / path, key, work, work, code))
    notes = note_unnamed(unnamed, root, root, "not in any list")
    source = source_of_identities("icartoonface", images, notes, missing)
    left_out = tuple(entry for entry in visible(root) if entry not in folders and entry not in files.values())
    return replace(source, left_out=left_out)


def source_of_identities(
    name: str, images: Sequence[SourceImage], notes: Sequence[str], missing: Sequence[Problem] = ()
) -> Source:
    """Return the source with the images sorted by split and identity; train's identities come first.

    Raises:
        Error: there is no image in train.
    """
    if not any(image.split_code == TRAIN for image in images):
        example = f": {missing[0].reason}" if missing else ""
        raise Error(f"The {name} source has no image in train{example}. Check its lists.")
    works = sorted({image.work for image in images}, key=_order)
    place = {work: number for number, work in enumerate(works)}
    ordered = sorted(images, key=lambda image: (image.split_code, place[image.work]))
    note = "val is a fifth of train's identities, by a fixed seed; their images are split 4:6 into query and gallery"
    images = tuple(distinct_keys(ordered))
    return Source(name, "identities", tuple(works), images, notes=(*notes, note), missing=tuple(missing))


def _work(label: str, code: int, file: Path, line: int) -> str:
    """Return the identity's name; the test lists have their own numbers, so equal labels are different identities."""
    if code != TRAIN and label == DISTRACTOR_LABEL:
        return DISTRACTOR
    return f"{'train' if code == TRAIN else 'test'}_{number(label, file, line, 'label')}"


def _order(work: str) -> tuple[int, int, str]:
    """Sort key: train, then test, then distractors, each by number."""
    part, _, label = work.partition("_")
    return ("train", "test", DISTRACTOR).index(part), int(label) if label.isdigit() else 0, label
