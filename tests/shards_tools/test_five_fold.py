"""Splitting a plain LSASRD tree into five folds."""

import dataclasses
import itertools
import json

import numpy as np
import pytest

from shards_tools import __main__ as command
from shards_tools.errors import Error
from shards_tools.manifest_file import read_manifest
from shards_tools.sources.lsasrd import cut_into_folds, scan
from shards_tools.splits import TRAIN, draw_folds

WORKS = {
    "train": {f"JP{work:04d}": range(1, 4) for work in range(9)},
    "query": {f"US{work:04d}": (1,) for work in range(4)},
    "test": {f"US{work:04d}": (2, 3) for work in range(4)},
}


@pytest.fixture
def tree(plant):
    return plant(WORKS, 2)


def test_every_work_is_whole_in_one_fold_and_none_is_lost(tree):
    source, cut = scan(tree), cut_into_folds(scan(tree), 0)
    assert cut.layout == "five-fold"
    assert {image.path for image in cut.images} == {image.path for image in source.images}
    assert len({image.key for image in cut.images}) == len(cut.images)
    assert {image.split_code for image in cut.images} == {TRAIN}
    folds = {work: {image.fold for image in cut.images if image.work == work} for work in cut.works}
    assert all(len(found) == 1 for found in folds.values())
    sizes = np.bincount([fold for found in folds.values() for fold in found], minlength=5)
    assert sorted(sizes) == [2, 2, 3, 3, 3]
    assert cut.notes == ("a plain tree was split into five folds by work, seed 0; the published folds differ",)


def test_images_of_a_role_stand_side_by_side_though_it_stood_in_query_and_in_test(plant):
    parts = {**WORKS, "query": {"US0000": (1, 2)}, "test": {"US0000": (1, 2)}}
    root = plant({name: works for name, works in parts.items() if name != "test"}, 2)
    for file in (root / "ASRD/query").rglob("*.*g"):
        place = root / "ASRD/test" / file.relative_to(root / "ASRD/query")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.read_bytes())
    roles = [image.role for image in cut_into_folds(scan(root), 0).images]
    changes = sum(first != second for first, second in itertools.pairwise(roles))
    assert changes + 1 == len(set(roles))


def test_of_190_works_38_are_in_each_fold():
    folds = draw_folds(190, 5, 0)
    assert np.bincount(folds).tolist() == [38] * 5
    np.testing.assert_array_equal(folds, draw_folds(190, 5, 0))
    assert (folds != draw_folds(190, 5, 1)).any()


def test_the_command_builds_them_by_seed(tree, tmp_path, capsys):
    shown = {}
    for name, seed in (("a", []), ("b", ["--seed", "0"]), ("c", ["--seed", "1"])):
        command.main(["build", "lsasrd", str(tree), "--out", str(tmp_path / name), "--five-fold", "--json", *seed])
        shown[name] = json.loads(capsys.readouterr().out)
    assert shown["a"]["fingerprint"] == shown["b"]["fingerprint"] != shown["c"]["fingerprint"]
    assert shown["c"]["notes"][0].endswith("seed 1; the published folds differ")
    manifest = read_manifest(tmp_path / "a")
    assert manifest.num_folds == 5
    asked = [set(manifest.work[manifest.split(fold).val_query].tolist()) for fold in range(5)]
    assert sum(map(len, asked)) == len(set.union(*asked)) == 13


def test_what_cannot_be_cut_is_refused(tree, five_fold_tree, tmp_path):
    with pytest.raises(Error, match="for a plain tree, but this tree already has five folds"):
        cut_into_folds(scan(five_fold_tree), 0)
    other = dataclasses.replace(scan(tree), name="folder")
    with pytest.raises(Error, match="--five-fold is only for lsasrd, but the source is folder"):
        cut_into_folds(other, 0)
    with pytest.raises(Error, match="--seed works only with --five-fold"):
        command.main(["build", "lsasrd", str(tree), "--out", str(tmp_path / "x"), "--seed", "3"])


def test_fewer_than_ten_works_are_refused(tree):
    source = scan(tree)
    few = source.works[:9]
    images = tuple(image for image in source.images if image.work in few)
    with pytest.raises(Error, match="needs at least 10 works, but there are 9"):
        cut_into_folds(dataclasses.replace(source, works=few, images=images), 0)
