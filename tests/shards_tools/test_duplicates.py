"""Equal files are reported, kept in the manifest, and rejected if they would leak into an evaluation."""

import itertools
import json
import shutil
from collections import defaultdict
from pathlib import Path

import pytest

from shards_tools import __main__ as command
from shards_tools.build import build
from shards_tools.manifest import Duplicates
from shards_tools.manifest_file import read_manifest
from shards_tools.sources.lsasrd import scan
from tests.shards_tools.refusal import bad_pictures


def copy(tree: Path, source: str, target: str) -> tuple[Path, Path]:
    return tree / source, Path(shutil.copy(tree / source, tree / target))


def test_a_tree_without_equal_files_has_none(plain, five_fold):
    assert plain.duplicates == five_fold.duplicates == Duplicates()


@pytest.mark.parametrize(
    ("target", "role"), [("train/JP0001/0002/JP0001_0002_", "0002"), ("train/CN0002/0001/CN0002_0001_", "0001")]
)
def test_an_image_under_two_labels_is_said_and_kept(plain_tree, tmp_path, capsys, target, role):
    copy(plain_tree / "ASRD", "train/JP0001/0001/JP0001_0001_00.jpg", f"{target}99.jpg")
    arguments = ["build", "lsasrd", str(plain_tree), "--out", str(tmp_path / "out"), "--json"]
    command.main(arguments)
    output = capsys.readouterr()
    pair = sorted(["train-JP0001_0001_00", f"train-{Path(target).name}99"])
    assert "images with two labels: 1" in output.err
    assert " = ".join(pair) in output.err
    expected = {"num_copies": 1, "num_under_two_labels": 1, "num_on_two_sides": 0, "pairs": [pair]}
    assert json.loads(output.out)["duplicates"] == expected
    assert json.loads((tmp_path / "out/manifest.json").read_text())["duplicates"] == expected
    assert read_manifest(tmp_path / "out").duplicates == Duplicates(1, 1, 0, (tuple(pair),))


def test_a_copy_within_a_role_is_counted_alone(plain_tree, tmp_path, capsys):
    copy(plain_tree / "ASRD/train/JP0001/0001", "JP0001_0001_00.jpg", "JP0001_0001_99.jpg")
    command.main(["build", "lsasrd", str(plain_tree), "--out", str(tmp_path / "out")])
    assert "two labels" not in capsys.readouterr().err
    assert read_manifest(tmp_path / "out").duplicates == Duplicates(num_copies=1)


@pytest.mark.parametrize(
    ("tree", "source", "target"),
    [
        ("plain_tree", "ASRD/train/JP0001/0001/JP0001_0001_00.jpg", "ASRD/query/US0003/0002/US0003_0002_99.jpg"),
        ("plain_tree", "ASRD/train/CN0002/0006/CN0002_0006_01.png", "ASRD/test/US0003/0004/US0003_0004_99.jpg"),
        ("five_fold_tree", "ASRDf/0/JP0000/0001/JP0000_0001_00.jpg", "ASRDf/3/JP0003/0001/JP0003_0001_99.jpg"),
    ],
)
def test_an_image_on_two_sides_is_refused_with_both_names_unless_allowed(tree, source, target, tmp_path, request):
    root = request.getfixturevalue(tree)
    first, second = copy(root, source, target)
    (problem,) = bad_pictures(scan(root), tmp_path / "out")
    kept, left_out = (first, second) if tree == "five_fold_tree" else (second, first)
    assert (problem.path, problem.kind) == (left_out, "duplicate")
    assert f"is the same image as {kept} in " in problem.reason
    command.main(["build", "lsasrd", str(root), "--out", str(tmp_path / "out"), "--allow-duplicates"])
    assert read_manifest(tmp_path / "out").duplicates.num_on_two_sides == 1


def test_the_same_role_in_two_folds_is_two_sides_too(five_fold_tree, tmp_path):
    shutil.copytree(five_fold_tree / "ASRDf/0/JP0000", five_fold_tree / "ASRDf/1/JP0000")
    problems = bad_pictures(scan(five_fold_tree), tmp_path / "out")
    assert len(problems) == 15
    assert all("/ASRDf/1/JP0000/" in str(problem.path) for problem in problems)
    assert all(problem.reason.endswith(" in fold 0") for problem in problems)


def test_query_and_gallery_are_one_side(plain_tree, tmp_path):
    copy(plain_tree / "ASRD", "query/US0003/0002/US0003_0002_00.png", "test/US0003/0004/US0003_0004_99.png")
    assert build(scan(plain_tree), tmp_path / "out").duplicates.num_under_two_labels == 1


def test_counts_are_those_of_comparing_every_pair(plant, tmp_path):
    """Compare with a comparison of all pairs of files, for copies of copies in many places."""
    tree = plant({"train": {f"JP{work:04d}": range(3) for work in range(3)}}, 4)
    files = sorted((tree / "ASRD").rglob("*.*g"))
    for place, file in enumerate(files[::2]):
        file.write_bytes(files[1 + 2 * (place % 7)].read_bytes())
    images = scan(tree).images
    same, roles = defaultdict(list), defaultdict(set)
    for first, second in itertools.combinations(images, 2):
        if first.path.read_bytes() == second.path.read_bytes():
            same[second.key].append(first.key)
    for image in images:
        roles[image.path.read_bytes()].add(image.role)
    found = build(scan(tree), tmp_path / "out").duplicates
    assert found.num_copies == len(same) > 5
    assert found.num_under_two_labels == sum(len(names) > 1 for names in roles.values()) > 5
    assert all(first in same[second] for first, second in found.pairs)
    assert len(found.pairs) == 5
