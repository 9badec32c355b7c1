"""Trees of re-identification data: folders are splits, and a file's name starts with its identity and its camera.

The camera is the role: gallery images of the query's own identity and camera are junk, as in Zheng et al. 2015. Images
of identity -1 are junk for every query and are skipped. Identity 0000 is a distractor, which only a gallery may hold.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from shards_tools.errors import Error
from shards_tools.manifest import DISTRACTOR
from shards_tools.sources.names import printable, refuse_odd_name
from shards_tools.sources.paths import distinct_keys, key_of, list_images, require_folder, visible
from shards_tools.sources.source import Source, SourceImage
from shards_tools.sources.split_names import refuse_unread_splits
from shards_tools.splits import TEST_GALLERY, TEST_QUERY

FLAT_NAME = re.compile(r"(-1|\d+)_(c\d+)(?:s\d+)?_", re.ASCII)  # IDENTITY_CAMERA_ or IDENTITY_CAMERAsSEQUENCE_
JUNK = "-1"


def scan_cameras(name: str, root: Path, folders: Mapping[int, str]) -> Source:
    """Scan every image of the tree; train, or query and gallery, may be missing.

    Args:
        name: of the source.
        root: the folder that holds the splits.
        folders: split code -> name of its folder.

    Raises:
        Error: the folder is not such a tree, or a file's name has no identity and camera.
    """
    require_folder(root, ", ".join(folders.values()))
    places = {code: root / folder for code, folder in folders.items() if (root / folder).is_dir()}
    if not places:
        raise Error(f"{root} has none of the folders {', '.join(folders.values())}. Give the folder that holds them.")
    if (TEST_QUERY in places) != (TEST_GALLERY in places):
        missing = root / folders[TEST_GALLERY if TEST_QUERY in places else TEST_QUERY]
        raise Error(f"{missing} is missing: a query is searched in a gallery. Add it or remove the other.")
    left_out = [entry for entry in visible(root) if entry not in places.values()]
    refuse_unread_splits((entry for entry in left_out if entry.is_dir()), folders.values())
    images: list[SourceImage] = []
    num_junk = 0
    for code, place in places.items():
        names = list_images(place, root)
        left_out += [entry for entry in visible(place) if entry.is_file() and entry.name not in names]
        found = [image for image in _images(place, names, code) if image.work != JUNK]
        num_junk += len(names) - len(found)
        images += sorted(found, key=lambda image: (image.role, image.key))
    notes = [f"{num_junk:,} images of identity {JUNK} were skipped: they are junk for every query"] if num_junk else []
    works = tuple(sorted({image.work for image in images}))
    return Source(name, "plain", works, tuple(distinct_keys(images)), tuple(left_out), tuple(notes))


def _images(place: Path, names: set[str], code: int) -> Iterator[SourceImage]:
    for name in names:
        path = place / name
        refuse_odd_name(path)
        labels = FLAT_NAME.match(name)
        if not labels:
            raise Error(
                f"{printable(path)} does not start with an identity and a camera, such as 0002_c1s1_. Rename it or"
                " remove it."
            )
        work, camera = labels.groups()
        if work.strip("0") == "":
            if code != TEST_GALLERY:
                raise Error(f"{path} has the identity {work} of distractors. Move it to the gallery or rename it.")
            work = DISTRACTOR
        yield SourceImage(path, key_of((place.name, path.stem)), work, f"{work}/{camera}", code)
