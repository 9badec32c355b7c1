"""DAF by grapeot: the tolerant parser, the filters, and the split that yields DAF:re."""

import csv
import os
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from shards_tools.build import build
from shards_tools.manifest_file import read_manifest
from shards_tools.sources.daf import DETECTION, scan
from shards_tools.splits import SPLIT_NAMES, split_in_file_order
from tests.shards_tools.refusal import bad_pictures, refusal

REAL_DATA = os.environ.get("SAKUGA_REAL_DATA", "")
SURE = "0.448534, 0.441995, 0.584106, 0.654420 0.937403"
UNSURE = "0.448534, 0.441995, 0.584106, 0.654420 0.337403"
# tag id -> number of crops; 7 and 40 have enough
COUNTS = {40: 25, 7: 20, 12: 19}
NAMES = {7: "reimu_(touhou)", 12: "akari", 40: "saber", 99: "nobody"}


def plant(root: Path, make_picture, place: str = "faces") -> Path:
    """Classes with interleaved rows; the tarball's buckets have three digits, the list's four."""
    root.mkdir(parents=True)
    (root / "tagIds.tsv").write_text("".join(f"{name}\t{tag}\n" for tag, name in NAMES.items()))
    rows = []
    for number in range(max(COUNTS.values())):
        for tag, count in COUNTS.items():
            if number < count:
                identifier = 10_000 * tag + 997 * (count - number) % 10_000
                rows.append(f"{identifier % 1000:04d}\\{identifier}.jpg\t{tag}\t{SURE}")
                crop = root / place / f"{identifier % 1000:03d}" / f"{identifier}.jpg"
                crop.parent.mkdir(parents=True, exist_ok=True)
                crop.write_bytes(make_picture(identifier, "JPEG"))
    (root / "faces.tsv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture
def tree(tmp_path, make_picture) -> Path:
    return plant(tmp_path / "daf", make_picture)


def append(tree: Path, row: str) -> None:
    with open(tree / "faces.tsv", "a") as file:
        file.write(f"{row}\n")


def refused(folder: Path) -> str:
    return refusal(scan, folder)


@pytest.mark.parametrize("place", ["faces", "."])
def test_classes_of_twenty_are_kept_in_the_order_of_their_tags(tmp_path, make_picture, place):
    source = scan(plant(tmp_path / "daf", make_picture, place))
    assert source.works == ("reimu_(touhou)", "saber")
    assert "1 classes were skipped: they have fewer than 20 images" in source.notes
    assert source.left_out == ()
    counts = Counter((image.work, SPLIT_NAMES[image.split_code]) for image in source.images)
    assert counts == {
        ("reimu_(touhou)", "train"): 14,
        ("reimu_(touhou)", "val"): 1,
        ("reimu_(touhou)", "test"): 5,
        ("saber", "train"): 17,
        ("saber", "val"): 3,
        ("saber", "test"): 5,
    }


def test_the_split_is_in_the_order_of_the_file(tree):
    rows = [row.split("\t")[:2] for row in (tree / "faces.tsv").read_text().splitlines()]
    in_file = [path.split("\\")[1][: -len(".jpg")] for path, tag in rows if tag == "40"]
    images = [image for image in scan(tree).images if image.work == "saber"]
    assert [image.path.stem for image in images] == in_file
    assert images[0].key == f"{int(in_file[0]) % 1000:04d}-{in_file[0]}"


def test_what_is_filtered_out_is_counted(tree, make_picture):
    (tree / "faces/001").mkdir(exist_ok=True)
    Image.new("L", (9, 9)).save(tree / "faces/001/1.jpg")
    Image.new("CMYK", (9, 9)).save(tree / "faces/001/4001.jpg")
    (tree / "faces/001/3001.jpg").write_bytes(make_picture(3))
    (tree / "faces/001/5001.jpg").write_bytes(make_picture(5))
    for row in ("1.jpg", "4001.jpg", "2001.jpg"):
        append(tree, f"0001/{row}\t7\t{SURE}")
    append(tree, f"0001\\3001.jpg\t7\t{UNSURE}")
    source = scan(tree)
    assert len(source.images) == 45
    assert source.notes == (
        "rows of faces.tsv were skipped: 1 with a confidence below 0.85, 1 without a crop, 2 not RGB",
        "1 classes were skipped: they have fewer than 20 images",
        "1 images were skipped: not in faces.tsv, such as faces/001/5001.jpg",
    )


def test_a_broken_crop_is_named_by_the_build(tree, tmp_path):
    crop = next(iter(scan(tree).images)).path
    crop.write_bytes(b"\xff\xd8\xff\xe0 cut")
    (problem,) = bad_pictures(scan(tree), tmp_path / "shards")
    assert (problem.path, problem.kind) == (crop, "broken")


def test_it_builds(tree, tmp_path):
    build(scan(tree), tmp_path / "shards")
    assert [len(part) for part in vars(read_manifest(tmp_path / "shards").split()).values() if len(part)] == [31, 4, 10]


@pytest.mark.parametrize(
    ("text", "confidence"),
    [
        (UNSURE, "0.337403"),
        ("0.4,0.5,0.6,0.7,0.9", "0.9"),
        (" 0.4, 0.5, 0.6, 0.7,  1e-3 ", "1e-3"),
        ("0 .5 1 1. 1", "1"),
        ("-0.01, 0.5, 1.02, 0.7 0.99", "0.99"),
        ("0.4, 0.5, 0.6, 0.7", None),
        ("0.4, 0.5, 0.6, 0.7 nan", None),
        ("0.4, 0.5, 0.6, 0.7 0.8 0.9", None),
        ("1" * 30_000, None),
    ],
    ids=lambda text: str(text)[:30],
)
def test_a_detection_is_five_numbers_however_they_are_parted(text, confidence):
    match = DETECTION.fullmatch(text)
    assert (match and match[1]) == confidence


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (f"0001\\1.jpg\t7\t{SURE}\tx", "faces.tsv:65 has 4 cells instead of 3"),
        (f"0001\\..\\1.jpg\t7\t{SURE}", r"which is not BUCKET\ID.jpg in digits"),
        (f"/etc/1.jpg\t7\t{SURE}", r"faces.tsv:65 has the file '/etc/1.jpg', which is not BUCKET\ID.jpg"),
        (f"0001\\1.png\t7\t{SURE}", r"which is not BUCKET\ID.jpg"),
        (f"0001\\1.jpg\tx\t{SURE}", "faces.tsv:65 has the tag id 'x', which is not an integer"),
        (f"0001\\1.jpg\t8\t{SURE}", "faces.tsv:65 has the tag id 8, which is not in tagIds.tsv"),
        ("0001\\1.jpg\t7\t0.1, 0.2 0.9", "faces.tsv:65 has the detection '0.1, 0.2 0.9', which is not five numbers"),
        (f"0001\\1.jpg\t7\t{SURE}\n001/1.jpg\t7\t{SURE}", "faces.tsv:66 repeats the image of line 65"),
    ],
)
def test_a_bad_row_is_named_with_file_and_line(tree, row, complaint):
    append(tree, row)
    assert complaint in refused(tree)


@pytest.mark.parametrize("row", ["reimu\t7", "x\t-1", "x"])
def test_a_bad_row_of_tags_is_named(tree, row):
    with open(tree / "tagIds.tsv", "a") as file:
        file.write(f"{row}\n")
    assert "tagIds.tsv:5 " in refused(tree)


def test_two_kept_tags_of_one_name_are_refused(tree):
    (tree / "tagIds.tsv").write_text("a\t7\na\t40\nb\t12\n")
    assert "tagIds.tsv has 2 tags named 'a'" in refused(tree)


@pytest.mark.parametrize("name", ["faces.tsv", "tagIds.tsv"])
def test_a_missing_list_is_named(tree, name):
    (tree / name).unlink()
    assert f"{tree / name} is missing" in refused(tree)


def test_without_any_crop_it_is_refused(tree):
    (tree / "faces").rename(tree / "crops")
    assert (
        "no class with 20 crops that pass the filters; dropped: 0 with a confidence below 0.85, 64 without"
        in refused(tree)
    )


def test_one_image_in_two_buckets_is_refused(tree):
    crop = scan(tree).images[0].path
    other = tree / "faces" / crop.parent.name.zfill(4) / crop.name
    other.parent.mkdir()
    other.write_bytes(crop.read_bytes())
    assert "have the same bucket and id" in refused(tree)


def test_twenty_images_are_fourteen_one_and_five():
    assert split_in_file_order(20) == (14, 1, 5)
    assert split_in_file_order(10) == (7, 0, 3), "0.7 + 0.1 is less than 0.8"


@pytest.mark.skipif(not REAL_DATA, reason="SAKUGA_REAL_DATA names no folder with real class counts")
def test_the_rule_gives_the_published_counts_of_every_class():
    with open(Path(REAL_DATA) / "dafre_class_counts.csv") as file:
        rows = list(csv.DictReader(file))
    cut = [split_in_file_order(int(row["total_reconstructed"])) for row in rows]
    assert [sum(counts) for counts in zip(*cut, strict=True)] == [322_947, 46_050, 94_440]
    assert [(val, test) for _, val, test in cut] == [(int(row["val_exact"]), int(row["test_exact"])) for row in rows]
