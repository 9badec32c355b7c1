"""Market-1501 and VeRi-776: file names give identity and camera, and folders the split."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from shards_tools.build import build
from shards_tools.sources import market1501, veri776
from shards_tools.splits import SPLIT_NAMES
from shards_tools.verify import verify
from tests.shards_tools.refusal import refusal

MARKET = (
    "bounding_box_train/0002_c1s1_000451_03.jpg",
    "bounding_box_train/0002_c2s1_000451_04.jpg",
    "bounding_box_train/0007_c1s1_000009_01.jpg",
    "bounding_box_train/0007_c3s2_000009_01.jpg",
    "query/0003_c1s1_000001_00.jpg",
    "bounding_box_test/0003_c1s1_000002_01.jpg",
    "bounding_box_test/0003_c4s6_000003_01.jpg",
    "bounding_box_test/0000_c1s1_000004_01.jpg",
    "bounding_box_test/0000_c5s1_000005_01.jpg",
    "bounding_box_test/-1_c1s1_000006_01.jpg",
    "bounding_box_test/-1_c2s1_000007_02.jpg",
)
VERI = (
    "image_train/0001_c001_00016450_0.jpg",
    "image_train/0001_c020_00016450_0.jpg",
    "image_query/0002_c002_00030600_0.jpg",
    "image_test/0002_c003_00030640_0.jpg",
)


@pytest.fixture
def plant_files(tmp_path: Path, make_picture: Callable[..., bytes]) -> Callable[..., Path]:
    """`plant_files(names)` writes one picture per path."""

    def write(names: tuple[str, ...]) -> Path:
        for seed, name in enumerate(names):
            file = tmp_path / "data" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(make_picture(seed, "JPEG"))
        return tmp_path / "data"

    return write


def roles_and_splits(shards: Path) -> Counter[tuple[str, str]]:
    manifest = verify(shards, "deep")
    roles, codes = manifest.role.tolist(), manifest.split_code.tolist()
    return Counter((manifest.roles[role], SPLIT_NAMES[code]) for role, code in zip(roles, codes, strict=True))


def test_market_has_cameras_as_roles_and_distractors_in_the_gallery_alone(plant_files, tmp_path):
    root = plant_files(MARKET)
    (root / "bounding_box_test/Thumbs.db").write_bytes(b"windows")
    (root / "readme.txt").write_text("Market-1501")
    source = market1501.scan(root)
    assert set(source.left_out) == {root / "readme.txt", root / "bounding_box_test/Thumbs.db"}
    manifest = build(source, tmp_path / "shards")
    assert roles_and_splits(tmp_path / "shards") == {
        ("0002/c1", "train"): 1,
        ("0002/c2", "train"): 1,
        ("0007/c1", "train"): 1,
        ("0007/c3", "train"): 1,
        ("0003/c1", "test_query"): 1,
        ("0003/c1", "test_gallery"): 1,
        ("0003/c4", "test_gallery"): 1,
        ("distractor/c1", "test_gallery"): 1,
        ("distractor/c5", "test_gallery"): 1,
    }
    assert manifest.notes[0] == "2 images of identity -1 were skipped: they are junk for every query"


def test_a_fifth_of_many_identities_is_held_out_whole(plant_files, tmp_path):
    names = tuple(
        f"bounding_box_train/{number:04d}_c{camera}s1_0_0.jpg" for number in range(1, 26) for camera in (1, 2)
    )
    build(market1501.scan(plant_files(names)), tmp_path / "shards")
    by_split = Counter(split for _, split in roles_and_splits(tmp_path / "shards"))
    assert by_split == {"train": 40, "val_query": 5, "val_gallery": 5}


def test_veri_is_read_with_its_query_images_that_are_in_the_test_folder_too(plant_files, tmp_path):
    root = plant_files(VERI)
    shutil.copy(root / VERI[2], root / "image_test" / Path(VERI[2]).name)
    build(veri776.scan(root), tmp_path / "shards")
    assert roles_and_splits(tmp_path / "shards") == {
        ("0001/c001", "train"): 1,
        ("0001/c020", "train"): 1,
        ("0002/c002", "test_query"): 1,
        ("0002/c002", "test_gallery"): 1,
        ("0002/c003", "test_gallery"): 1,
    }


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (("train/0001_c1s1_0.jpg",), "has none of the folders bounding_box_train, query, bounding_box_test"),
        (("query/0001_c1s1_0.jpg",), "bounding_box_test is missing: a query is searched in a gallery"),
        (("bounding_box_test/0001_c1s1_0.jpg",), "query is missing: a query is searched in a gallery"),
        (("bounding_box_train/0000_c1s1_0.jpg",), "0000_c1s1_0.jpg has the identity 0000 of distractors"),
        (("bounding_box_train/reimu_1.jpg",), "reimu_1.jpg does not start with an identity and a camera"),
        (("bounding_box_train/a/0001_c1s1_0.jpg",), "0001_c1s1_0.jpg does not start with an identity and a camera"),
    ],
)
def test_a_tree_that_does_not_fit_is_named(plant_files, names, complaint):
    message = refusal(market1501.scan, plant_files(names))
    assert complaint in message


def test_a_source_that_is_no_folder_is_refused(tmp_path):
    assert "is not a folder" in refusal(market1501.scan, tmp_path / "nowhere")
    assert "is not a folder" in refusal(veri776.scan, tmp_path / "nowhere")
