"""moeimouto: val is taken from train, with a note, and never from the test set."""

import csv
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from shards_tools.build import build
from shards_tools.errors import Error
from shards_tools.manifest_file import read_manifest
from shards_tools.sources.moeimouto import scan
from shards_tools.splits import TRAIN, VAL, cut_classes

REAL_DATA = os.environ.get("SAKUGA_REAL_DATA", "")
NUM_TRAIN = (16, 9, 1)


@pytest.fixture
def tree(tmp_path, make_picture) -> Path:
    root = tmp_path / "moeimouto"
    rows = {"train": [], "test": [], "classid_classname": []}
    for class_id, num_train in enumerate(NUM_TRAIN):
        name = f"{class_id:03d}_character_{class_id}"
        rows["classid_classname"].append(f"{class_id},{name}")
        (root / "data" / name).mkdir(parents=True)
        for number in range(num_train + 3):
            path = f"{name}/face_{number}_1_2.png"
            (root / "data" / path).write_bytes(make_picture(100 * class_id + number))
            rows["train" if number < num_train else "test"].append(f"{class_id},{path}")
    for name, lines in rows.items():
        (root / f"{name}.csv").write_text("\n".join(lines))
    return root


def test_val_is_an_eighth_of_each_class_of_train_and_said(tree, tmp_path):
    build(scan(tree), tmp_path / "shards")
    manifest = read_manifest(tmp_path / "shards")
    split = manifest.split()
    assert np.bincount(manifest.work[split.train]).tolist() == [14, 8, 1]
    assert np.bincount(manifest.work[split.val], minlength=3).tolist() == [2, 1, 0]
    tested = {f"{image}" for image in manifest.keys[split.test]}
    listed = {row[1] for row in csv.reader((tree / "test.csv").read_text().splitlines())}
    assert tested == {path[: -len(".png")].replace("/", "-") for path in listed}
    assert any("no val: taken from each class of train" in note for note in manifest.notes)


def test_a_val_that_is_there_is_used(tree):
    rows = (tree / "train.csv").read_text().splitlines()
    (tree / "val.csv").write_text("\n".join(rows[:2]))
    (tree / "train.csv").write_text("\n".join(rows[2:]))
    source = scan(tree)
    assert [image.split_code for image in source.images].count(VAL) == 2
    assert (source.cut, source.notes) == ((), ())


def test_a_copy_that_the_cut_parts_is_counted_and_not_refused(tree, tmp_path):
    first, *others = sorted((tree / "data/000_character_0").iterdir(), key=lambda file: int(file.stem.split("_")[1]))
    for other in others[: NUM_TRAIN[0] - 1]:
        other.write_bytes(first.read_bytes())
    duplicates = build(scan(tree), tmp_path / "shards").duplicates
    assert (duplicates.num_copies, duplicates.num_on_two_sides) == (NUM_TRAIN[0] - 1, 0)


def test_what_is_missing_is_named(tree):
    (tree / "data").rename(tree / "faces")
    with pytest.raises(Error, match="data is missing"):
        scan(tree)
    (tree / "faces").rename(tree / "data")
    (tree / "test.csv").unlink()
    with pytest.raises(Error, match=r"test\.csv is missing"):
        scan(tree)


@pytest.mark.skipif(not REAL_DATA, reason="SAKUGA_REAL_DATA names no folder with real class counts")
def test_of_the_real_counts_every_class_keeps_seven_eighths_in_train():
    with open(Path(REAL_DATA) / "moeimouto_class_counts.csv") as file:
        counts = {int(row["class_id"]): int(row["train"]) for row in csv.DictReader(file)}
    classes = np.repeat(list(counts), list(counts.values()))
    codes = cut_classes(classes, (VAL,))
    in_val = Counter(classes[codes == VAL].tolist())
    assert len(classes) == 11_452
    assert all(abs(in_val[class_id] - count / 8) <= 0.5 for class_id, count in counts.items())
    assert (codes == TRAIN).sum() + (codes == VAL).sum() == len(classes)
