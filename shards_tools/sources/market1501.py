"""Market-1501: ROOT/{bounding_box_train,query,bounding_box_test}/IDENTITY_cCAMERAsSEQUENCE_REST.jpg.

DukeMTMC-reID has the same folders and is read too. In Market-1501's own test every query is searched among 19,732
images, 2,793 of them distractors.
"""

from pathlib import Path

from shards_tools.sources.cameras import scan_cameras
from shards_tools.sources.source import Source
from shards_tools.splits import TEST_GALLERY, TEST_QUERY, TRAIN

FOLDERS = {TRAIN: "bounding_box_train", TEST_QUERY: "query", TEST_GALLERY: "bounding_box_test"}


def scan(folder: Path) -> Source:
    """Scan every image of the three folders, with cameras as roles.

    Raises:
        Error: the folder is not such a tree, or a file's name has no identity and camera.
    """
    return scan_cameras("market1501", Path(folder), FOLDERS)
