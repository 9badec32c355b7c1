"""Lists of every kind with random damage are read or rejected in one line, never with a traceback."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from shards_tools.errors import Error
from shards_tools.sources import SOURCES
from shards_tools.sources.lists import read_rows
from shards_tools.sources.source import SourceImage

RECTRAIN, RECTEST = "personai_icartoonface_rectrain", "personai_icartoonface_rectest"
IDENTITY = f"{RECTRAIN}_00001"
TAGS = "id,dir,class_id,tags_cat0,tags_cat3,tags_cat4\n"
# kind -> its images and its lists
TREES = {
    "dafre": (
        ["data/1.jpg", "data/2.jpg", "data/3.jpg"],
        {"train.csv": "0,1.jpg\n", "val.csv": "0,2.jpg\n", "test.csv": "0,3.jpg\n", "classid_classname.csv": "0,a\n"},
    ),
    "moeimouto": (
        ["data/a/1.png", "data/a/2.png"],
        {"train.csv": "0,a/1.png\n", "test.csv": "0,a/2.png\n", "classid_classname.csv": "0,a\n"},
    ),
    "dafull": (
        ["fullMin256/1.jpg", "fullMin256/2.jpg", "fullMin256/3.jpg"],
        {
            "labels/train_tags.csv": TAGS + "1,1.jpg,0,\"['a', 'b c']\",[],[]\n",
            "labels/val_tags.csv": TAGS + "2,2.jpg,0,['a'],[],[]\n",
            "labels/test_tags.csv": TAGS + "3,3.jpg,0,[],[],[]\n",
            "labels/classid_classname.csv": "0,a\n",
        },
    ),
    "daf": (
        [f"faces/000/{number}.jpg" for number in range(20)],
        {
            "faces.tsv": "".join(f"0000\\{number}.jpg\t7\t0.1, 0.2, 0.3, 0.4 0.9\n" for number in range(20)),
            "tagIds.tsv": "a\t7\nb\t8\n",
        },
    ),
    "list": (
        ["a/1.jpg", "a/2.jpg", "b/3.jpg"],
        {"train.csv": "path,label\na/1.jpg,x\nb/3.jpg,y\n", "test.txt": "a/2.jpg x\n"},
    ),
    "icartoonface": (
        [f"{RECTRAIN}/icartoonface_rectrain/{IDENTITY}/{IDENTITY}_1.jpg"]
        + [f"{RECTEST}/icartoonface_rectest/{number}.jpg" for number in range(3)],
        {
            f"{RECTRAIN}/icartoonface_rectrain_det.txt": f"{IDENTITY}/{IDENTITY}_1.jpg\t1\t2\t3\t4\n",
            f"{RECTEST}/icartoonface_rectest_info.txt": "0.jpg\t0\t0\t9\t9\t5\n1.jpg\t0\t0\t9\t9\t5\n"
            "2.jpg\t0\t0\t9\t9\t-1\n0.jpg\t1.jpg\n",
        },
    ),
}


def plant(root: Path, kind: str, make_picture) -> Path:
    images, lists = TREES[kind]
    for name in [*images, *lists]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
    for name in images:
        (root / name).write_bytes(make_picture(1, "JPEG"))
    for name, text in lists.items():
        (root / name).write_text(text)
    return root


def damage(data: bytes, draw: np.random.Generator) -> bytes:
    """Return the bytes with one to four of them changed, removed, inserted or repeated in a row."""
    for _ in range(draw.integers(1, 5)):
        place, length = draw.integers(len(data) + 1), draw.integers(0, 4)
        odd = [draw.bytes(length), b"\t", b",", b'"', b"\n", b"\0", b"\r", b"-", b"../", b"9" * 5000, "é".encode()]
        put = odd[draw.integers(len(odd))] if draw.integers(2) else data[place : place + draw.integers(1, 30)] * 2
        data = data[:place] + put + data[place + length :]
    return data


def scan(kind: str, root: Path) -> tuple[Sequence[SourceImage], str]:
    """Return the images, or none and the message."""
    try:
        return SOURCES[kind](root).images, ""
    except Error as mistake:
        return (), str(mistake)


@pytest.mark.parametrize("kind", TREES)
def test_a_damaged_list_is_read_or_refused_in_one_line(kind, tmp_path, make_picture):
    root = plant(tmp_path / kind, kind, make_picture)
    whole = SOURCES[kind](root)
    assert whole.images
    draw = np.random.default_rng(0)
    num_refused = 0
    for name, text in TREES[kind][1].items():
        for _ in range(60):
            (root / name).write_bytes(damage(text.encode(), draw))
            images, message = scan(kind, root)
            num_refused += bool(message)
            assert "\n" not in message
            assert len(message) < 2000
            assert {image.path for image in images} <= {image.path for image in whole.images}
        (root / name).write_text(text)
    assert num_refused > 60
    assert SOURCES[kind](root) == whole


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_list_that_may_not_be_read_is_named(tmp_path):
    file = tmp_path / "train.csv"
    file.write_text("0,1.jpg\n")
    file.chmod(0)
    with pytest.raises(Error, match=f"{file} cannot be read"):
        list(read_rows(file, 2))


def test_windows_line_ends_and_a_byte_order_mark_are_no_part_of_a_cell(tmp_path):
    file = tmp_path / "train.csv"
    file.write_bytes(b"\xef\xbb\xbf0,1.jpg\r\n\r\n1,2.jpg\r\n")
    assert list(read_rows(file, 2)) == [(1, ["0", "1.jpg"]), (3, ["1", "2.jpg"])]
