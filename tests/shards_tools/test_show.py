"""The counts of `show` and its contact sheet."""

import json
import statistics
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from shards_tools import __main__ as command
from shards_tools.build import build
from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from shards_tools.overview import count_overview, describe_overview
from shards_tools.sheet import write_sheet
from shards_tools.sources.lsasrd import scan


@pytest.fixture
def uneven(plant, tmp_path) -> Manifest:
    """Twenty works of one to twenty roles with two images each; one image is tall and narrow."""
    tree = plant({"train": {f"JP{work:04d}": range(1, work + 1) for work in range(1, 21)}}, 2)
    Image.new("RGB", (10, 40), "red").save(tree / "ASRD/train/JP0001/0001/JP0001_0001_00.jpg", quality=95)
    return build(scan(tree), tmp_path / "shards")


def test_the_numbers_are_those_of_the_folders(uneven, tmp_path):
    images = [path.relative_to(tmp_path / "source/ASRD/train") for path in (tmp_path / "source").rglob("*.*g")]
    overview = count_overview(uneven)
    for name, depth in (("images_per_work", 1), ("images_per_role", 2)):
        counts = list(Counter(path.parts[:depth] for path in images).values())
        found = overview[name]
        assert (found["min"], found["max"]) == (min(counts), max(counts))
        assert found["median"] == statistics.median(counts)
        assert found["mean"] == pytest.approx(statistics.mean(counts))
        for entry in found["histogram"]:
            assert entry["count"] == sum(entry["from"] <= count <= entry["to"] for count in counts)
        assert sum(entry["count"] for entry in found["histogram"]) == len(counts)
        assert len(found["histogram"]) <= 8
    assert (overview["height_px"]["min"], overview["height_px"]["max"]) == (10, 40)
    assert (overview["width_px"]["min"], overview["width_px"]["median"]) == (10, 12)


def test_bars_are_as_long_as_their_counts(uneven):
    lines = list(describe_overview(count_overview(uneven)))
    assert lines[0] == "images per work: min 2, median 21, mean 21.0, max 40"
    assert lines[1] == f"        2 -       6       3 {'#' * 40}"
    assert lines[8].split() == ["37", "-", "40", "2", "#" * 27]
    assert lines[-2].startswith("height in px: min 10, ")


def test_show_gives_the_same_numbers_as_json(uneven, capsys):
    command.main(["show", str(uneven.store.folder), "--json"])
    output = capsys.readouterr()
    shown = json.loads(output.out)
    assert count_overview(uneven).items() <= shown.items()
    assert "images per role: min 2, median 2, mean 2.0, max 2" in output.err


def test_the_sheet_has_a_row_per_work_and_an_image_per_role_or_those_of_its_only_one(uneven, tmp_path):
    command.main(["show", str(uneven.store.folder), "--sheet", str(tmp_path / "sheet.png")])
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB")).astype(int)
    assert sheet.shape == (12 * 100 + 4, 100 + 12 * 100, 3)
    cells = sheet[4:, 100:].reshape(12, 100, 12, 100, 3).transpose(0, 2, 1, 3, 4)
    filled = (cells < 250).any(axis=(2, 3, 4)).sum(axis=1)
    assert filled.tolist() == [2, 3, 4, 6, 8, 10, 11, 12, 12, 12, 12, 12]
    red = (cells[0, 0] - [255, 0, 0] == 0).all(-1) | (np.abs(cells[0, 0] - [254, 0, 0]) < 8).all(-1)
    rows, columns = np.nonzero(red)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (96, 24), "in proportion"
    assert (sheet[4:100, :100] < 100).any(), "the work's name"


def test_a_sheet_that_cannot_be_written_leaves_the_old_one(uneven, tmp_path):
    sheet = tmp_path / "sheet.png"
    sheet.write_bytes(b"old")
    damaged = uneven.store.folder / uneven.shards[0].name
    damaged.write_bytes(bytes(damaged.stat().st_size))
    with pytest.raises(Error, match="is damaged"):
        write_sheet(uneven, sheet)
    assert sheet.read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"sheet.png", "source", "shards"}


@pytest.mark.parametrize(
    ("name", "complaint"), [("sheet.jpg", r"ends in \.png"), ("no/sheet.png", "cannot be written")]
)
def test_a_place_that_is_none_for_a_sheet_is_named(plain, tmp_path, name, complaint):
    with pytest.raises(Error, match=f"{tmp_path / name}.*{complaint}"):
        write_sheet(plain, tmp_path / name)


def test_equal_shards_give_equal_sheets(plain, tmp_path):
    for name in ("a.png", "b.png"):
        write_sheet(plain, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
