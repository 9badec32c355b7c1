"""DAF:re: lists of class_id,path without header, and head crops in numbered buckets.

v1 has ROOT/{train,val,test,classid_classname}.csv and the images in ROOT/data; v2 has ROOT/labels/*.csv and ROOT/faces.
Classes keep the order of their ids, so that the classifiers of published checkpoints match.
"""

from pathlib import Path

from shards_tools.errors import Error
from shards_tools.sources.classes import LIST_NAMES, ClassLists, scan_classes
from shards_tools.sources.paths import require_folder
from shards_tools.sources.source import Source


def scan(folder: Path) -> Source:
    """Scan every image of the three lists, in the v1 or the v2 layout.

    Raises:
        Error: the folder is not a DAF:re tree, or its lists and images do not match.
    """
    root = require_folder(Path(folder), "train.csv and data, or labels and faces")
    version_1, version_2 = (root / "train.csv").is_file(), (root / "labels").is_dir()
    if version_1 == version_2:
        found = "both train.csv and labels" if version_1 else "neither train.csv nor labels"
        raise Error(
            f"{root} is not a DAF:re tree: it has {found}. Use either train.csv and data (v1) or labels and faces (v2)."
        )
    labels = root / "labels" if version_2 else root
    images = root / ("faces" if version_2 else "data")
    if not images.is_dir():
        hint = (
            " Or build dafull, which uses the whole pictures in fullMin256." if (root / "fullMin256").is_dir() else ""
        )
        raise Error(f"{images} is missing. Put the images of {labels / 'train.csv'} there.{hint}")
    lists = {code: labels / f"{name}.csv" for code, name in LIST_NAMES.items()}
    return scan_classes(ClassLists("dafre", root, images, labels / "classid_classname.csv", lists))
