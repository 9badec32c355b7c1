"""DAF:re on disk: lists of class_id,path without header, and head crops in folders of a thousand by number.

v1: ROOT/{train,val,test,classid_classname}.csv with the images in ROOT/data; v2: ROOT/labels/*.csv with ROOT/faces.
Classes keep the order of their ids, so that the rows of published checkpoints fit.
"""

from pathlib import Path

from shards_tools.errors import Error
from shards_tools.sources.classes import LIST_NAMES, ClassLists, scan_classes
from shards_tools.sources.paths import require_folder
from shards_tools.sources.source import Source


def scan(folder: Path) -> Source:
    """Every image of the three lists, in the v1 or the v2 layout."""
    root = require_folder(Path(folder), "train.csv and data, or labels and faces")
    version_1, version_2 = (root / "train.csv").is_file(), (root / "labels").is_dir()
    if version_1 == version_2:
        found = "both train.csv and labels: remove one" if version_1 else "neither train.csv nor labels: add them"
        raise Error(f"{root} is no DAF:re tree, as it holds {found}. v1 has train.csv and data, v2 labels and faces.")
    labels = root / "labels" if version_2 else root
    images = root / ("faces" if version_2 else "data")
    if not images.is_dir():
        hint = (
            " Its fullMin256 are the whole pictures: build dafull for those." if (root / "fullMin256").is_dir() else ""
        )
        raise Error(f"{images} is missing: the images of {labels / 'train.csv'} should be there.{hint} Add it.")
    lists = {code: labels / f"{name}.csv" for code, name in LIST_NAMES.items()}
    return scan_classes(ClassLists("dafre", root, images, labels / "classid_classname.csv", lists))
