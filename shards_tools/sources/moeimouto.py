"""moeimouto: ROOT/{train,test,classid_classname}.csv as in DAF:re, images in ROOT/data/NNN_character_name/.

It has no val, and other programs validate on its test set. Here the build takes val from train, unless there is a
val.csv.
"""

from dataclasses import replace
from pathlib import Path

from shards_tools.sources.classes import LIST_NAMES, ClassLists, note_cut, scan_classes
from shards_tools.sources.paths import require_folder
from shards_tools.sources.source import Source
from shards_tools.splits import VAL


def scan(folder: Path) -> Source:
    """Scan every image of the lists; without val.csv the build takes val from train.

    Raises:
        Error: a part of the tree is missing, or its lists and images do not match.
    """
    root = require_folder(Path(folder), "train.csv, test.csv and data")
    lists = {code: root / f"{name}.csv" for code, name in LIST_NAMES.items()}
    cut = () if lists[VAL].is_file() else (VAL,)
    for code in cut:
        del lists[code]
    source = scan_classes(ClassLists("moeimouto", root, root / "data", root / "classid_classname.csv", lists))
    return replace(source, cut=cut, notes=(*source.notes, *note_cut(cut)))
