"""VeRi-776: ROOT/{image_train,image_query,image_test}/VEHICLE_cCAMERA_REST.jpg; image_test also holds the queries."""

from pathlib import Path

from shards_tools.sources.cameras import scan_cameras
from shards_tools.sources.source import Source
from shards_tools.splits import TEST_GALLERY, TEST_QUERY, TRAIN

FOLDERS = {TRAIN: "image_train", TEST_QUERY: "image_query", TEST_GALLERY: "image_test"}


def scan(folder: Path) -> Source:
    """Scan every image of the three folders, with cameras as roles.

    Raises:
        Error: the folder is not such a tree, or a file's name has no identity and camera.
    """
    return scan_cameras("veri776", Path(folder), FOLDERS)
