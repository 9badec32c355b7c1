"""One build reports every broken, missing and duplicate image, or leaves them out as if they had never been there."""

import csv
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from shards_tools import __main__ as command
from shards_tools import assignment, writer
from shards_tools import build as build_module
from shards_tools.build import BuildOptions, build, report_of
from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from shards_tools.manifest_file import read_manifest
from shards_tools.problems import BadPictures, Problem, counted
from shards_tools.sources import dafre, folder, icartoonface
from shards_tools.sources.source import Source
from shards_tools.verify import verify
from tests.shards_tools.refusal import bad_pictures, refusal

SKIP = BuildOptions(on_error="skip")


@pytest.fixture
def small_shards(monkeypatch):
    """Shards of at most 20 kB, written by this process."""
    monkeypatch.setattr(writer, "MAX_SHARD_BYTES", 20_000)
    monkeypatch.setattr(build_module, "num_cpus", lambda: 1)


@pytest.fixture
def tree(tmp_path, make_picture) -> Path:
    """A tree like DAF:re's: five classes with 12 images in train, 2 in val and 4 in test; all differ."""
    root, number = tmp_path / "tree", 0
    rows: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for label in range(5):
        for split, count in (("train", 12), ("val", 2), ("test", 4)):
            for _ in range(count):
                number += 1
                file = root / f"data/{number % 10:04d}/{number}.jpg"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(make_picture(number, "JPEG", (24, 20)))
                rows[split].append(f"{label},{number % 10:04d}/{number}.jpg")
    rows["classid_classname"] = [f"{label},class_{label}" for label in range(5)]
    for name, lines in rows.items():
        (root / f"{name}.csv").write_text("".join(f"{line}\n" for line in lines))
    return root


def images_of(root: Path, name: str) -> list[Path]:
    """The files of a list, in its order."""
    return [root / "data" / line.split(",")[1] for line in (root / f"{name}.csv").read_text().splitlines()]


def unlist(root: Path, files: list[Path]) -> None:
    """Remove files, and their lines from every list."""
    for name in ("train", "val", "test"):
        lines = (root / f"{name}.csv").read_text().splitlines()
        kept = [line for line in lines if root / "data" / line.split(",")[1] not in files]
        (root / f"{name}.csv").write_text("".join(f"{line}\n" for line in kept))
    for file in files:
        file.unlink(missing_ok=True)


def spoil(root: Path) -> dict[Path, str]:
    """Break three images of train, remove one of each list, and copy two of train to test; return the bad ones."""
    train, val, test = (images_of(root, name) for name in ("train", "val", "test"))
    for file in train[:3]:
        file.write_bytes(file.read_bytes()[:-100])
    for file in (train[20], val[0], test[0]):
        file.unlink()
    shutil.copy(train[30], test[5])
    shutil.copy(train[31], test[6])
    kinds = {"broken": train[:3], "missing": [train[20], val[0], test[0]], "duplicate": [train[30], train[31]]}
    return {file: kind for kind, files in kinds.items() for file in files}


def content(manifest: Manifest) -> tuple[object, ...]:
    """What a manifest says about the images, apart from their places in the shards."""
    return manifest.fingerprint, manifest.works, manifest.roles, manifest.keys.tolist(), manifest.duplicates


def rows_of(report: Path) -> list[dict[str, str]]:
    with open(report, newline="") as file:
        return list(csv.DictReader(file))


def test_one_build_lists_everything_and_one_more_leaves_it_out(tree, tmp_path, small_shards, monkeypatch):
    bad = spoil(tree)
    source = dafre.scan(tree)
    with pytest.raises(BadPictures) as mistake:
        build(source, tmp_path / "out")
    assert str(mistake.value).startswith("The source has 3 broken, 3 missing and 2 duplicate images. ")
    assert str(mistake.value).endswith(
        f". {tmp_path}/out-problems.csv lists all of them. Correct them or add --on-error skip."
    )
    assert {problem.path: problem.kind for problem in mistake.value.problems} == bad
    rows = rows_of(report_of(tmp_path / "out"))
    assert {Path(row["path"]) for row in rows} == set(bad)
    assert len(rows) == len(bad)
    monkeypatch.setattr(assignment, "convert", lambda *_: pytest.fail("an image was decoded twice"))
    manifest = build(source, tmp_path / "out", SKIP)
    assert rows_of(report_of(tmp_path / "out")) == rows
    assert manifest.notes == ("left out: 3 broken images", "left out: 3 missing images", "left out: 2 duplicate images")
    assert read_manifest(tmp_path / "out").notes == manifest.notes
    assert not (tmp_path / ".out.building").exists()
    monkeypatch.undo()
    verify(tmp_path / "out", "deep")
    unlist(tree, list(bad))
    assert content(manifest) == content(build(dafre.scan(tree), tmp_path / "clean"))


def test_the_reason_names_the_line_of_a_list_and_the_other_copy(tree, tmp_path):
    spoil(tree)
    bad_pictures(dafre.scan(tree), tmp_path / "out")
    reasons = {Path(row["path"]): row["reason"] for row in rows_of(report_of(tmp_path / "out"))}
    train, val, test = (images_of(tree, name) for name in ("train", "val", "test"))
    assert reasons[train[0]].startswith("is a broken image (JPEG: ")
    assert reasons[val[0]].startswith(f"is missing: {tree / 'val.csv'}:1 names ")
    assert reasons[train[30]] == f"is the same image as {test[5]} in test"


def test_a_build_without_problems_removes_the_report_of_the_last_one(tree, tmp_path):
    bad = spoil(tree)
    bad_pictures(dafre.scan(tree), tmp_path / "out")
    assert report_of(tmp_path / "out").exists()
    unlist(tree, list(bad))
    build(dafre.scan(tree), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "tree"]


@pytest.mark.parametrize("split", ["train", "test"])
def test_duplicates_are_left_out_of_the_split_that_is_named(tree, tmp_path, small_shards, split):
    train, test = images_of(tree, "train"), images_of(tree, "test")
    shutil.copy(train[30], test[5])
    shutil.copy(train[31], test[6])
    options = BuildOptions(drop_duplicates_from=split)
    manifest = build(dafre.scan(tree), tmp_path / "out", options)
    dropped = train[30:32] if split == "train" else test[5:7]
    assert {row["path"] for row in rows_of(report_of(tmp_path / "out"))} == set(map(str, dropped))
    assert manifest.duplicates.num_on_two_sides == 0
    verify(tmp_path / "out", "deep")
    unlist(tree, dropped)
    assert content(manifest) == content(build(dafre.scan(tree), tmp_path / "clean"))


def test_copies_on_other_sides_than_the_named_one_still_stop_a_build(tree, tmp_path):
    train, val, test = (images_of(tree, name) for name in ("train", "val", "test"))
    shutil.copy(train[3], val[1])
    shutil.copy(train[3], test[1])
    with pytest.raises(BadPictures) as mistake:
        build(dafre.scan(tree), tmp_path / "out", BuildOptions(drop_duplicates_from="train"))
    assert {problem.path for problem in mistake.value.problems} == {train[3], val[1]}
    manifest = build(dafre.scan(tree), tmp_path / "out", SKIP)
    assert manifest.num_images == 88, "test keeps its copy, then val would"


def test_a_class_that_loses_its_last_image_of_train_is_left_out(tree, tmp_path, small_shards):
    train = images_of(tree, "train")[12:24]
    for file in train:
        file.write_bytes(b"\xff\xd8\xff broken")
    manifest = build(dafre.scan(tree), tmp_path / "out", SKIP)
    assert manifest.works == ("class_0", "class_2", "class_3", "class_4")
    assert manifest.notes == ("left out: 12 broken images", "left out: 6 untrained images")
    verify(tmp_path / "out", "deep")
    unlist(tree, [*train, *images_of(tree, "val")[2:4], *images_of(tree, "test")[4:8]])
    lines = (tree / "classid_classname.csv").read_text().splitlines()
    (tree / "classid_classname.csv").write_text("\n".join(line for line in lines if not line.startswith("1,")))
    assert content(manifest) == content(build(dafre.scan(tree), tmp_path / "clean"))
    assert tar_labels(tmp_path / "out") == tar_labels(tmp_path / "clean")


def tar_labels(shards: Path) -> dict[str, bytes]:
    """The label of every image as other readers of the tar files see it."""
    found = {}
    for shard in sorted(shards.glob("*.tar")):
        with tarfile.open(shard) as archive:
            for member in archive:
                if member.name.endswith(".cls"):
                    found[member.name] = archive.extractfile(member).read()
    return found


def test_a_source_without_an_image_left_is_refused_in_one_line(tree, tmp_path):
    for file in images_of(tree, "train"):
        file.write_bytes(b"broken")
    message = refusal(build, dafre.scan(tree), tmp_path / "out", SKIP)
    assert message.startswith("No image of the source is left to train on: it has 60 broken and 30 untrained images.")


def test_a_split_without_an_image_left_is_refused_in_one_line(tree, tmp_path):
    for file in images_of(tree, "test"):
        file.write_bytes(b"broken")
    message = refusal(build, dafre.scan(tree), tmp_path / "out", SKIP)
    assert message.startswith("No image of test is left: it has 20 broken images.")


def test_links_to_nowhere_are_missing_images(tmp_path, make_picture):
    for name in ("a", "b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(4):
            (tmp_path / f"pictures/{name}/{number}.png").write_bytes(make_picture(ord(name) * 10 + number))
    (tmp_path / "pictures/a/9.png").symlink_to("nowhere.png")
    (problem,) = bad_pictures(folder.scan(tmp_path / "pictures"), tmp_path / "out")
    assert problem == (tmp_path / "pictures/a/9.png", "missing", "is missing: No such file or directory")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_broken(tree, tmp_path):
    images_of(tree, "train")[0].chmod(0)
    (problem,) = bad_pictures(dafre.scan(tree), tmp_path / "out")
    assert (problem.kind, problem.reason) == ("broken", "cannot be read: Permission denied")


def test_missing_faces_and_their_pairs_are_left_out(tmp_path, make_picture):
    for number in range(6):
        for place in ("train/a", "train/b", "test"):
            (tmp_path / "lists" / place).mkdir(parents=True, exist_ok=True)
            data = make_picture(number + 10 * len(place) + ord(place[-1]))
            (tmp_path / "lists" / place / f"{number}.png").write_bytes(data)
    root = tmp_path / "lists"
    lines = [f"train/{name}/{number}.png\t{label}\n" for label, name in enumerate("ab") for number in range(6)]
    (root / "train_list.txt").write_text("".join(lines))
    (root / "query.txt").write_text("test/0.png\t1\ntest/1.png\t2\n")
    (root / "gallery.txt").write_text("test/2.png\t1\ntest/3.png\t2\ntest/9.png\t2\n")
    (root / "train/a/3.png").unlink()
    source = icartoonface.scan(root)
    assert [problem.path for problem in source.missing] == [root / "train/a/3.png", root / "test/9.png"]
    manifest = build(source, tmp_path / "out", SKIP)
    assert manifest.num_images == 15
    assert "left out: 2 missing images" in manifest.notes


def test_pairs_of_images_that_are_left_out_are_dropped(tree, tmp_path):
    found = dafre.scan(tree)
    places = {image.path: place for place, image in enumerate(found.images)}
    test = [places[file] for file in images_of(tree, "test")[:4]]
    pairs = ((test[0], test[1]), (test[2], test[3]))
    source = Source(found.name, found.layout, found.works, found.images, pairs=pairs)
    source.images[test[0]].path.write_bytes(b"broken")
    manifest = build(source, tmp_path / "out", SKIP)
    assert [[manifest.keys[place] for place in pair] for pair in manifest.pairs] == [
        [source.images[place].key for place in pairs[1]]
    ]


def test_the_command_says_where_the_report_is(tree, tmp_path, capsys):
    spoil(tree)
    arguments = ["build", "dafre", str(tree), "--out", str(tmp_path / "out")]
    with pytest.raises(Error, match="3 broken, 3 missing and 2 duplicate images") as mistake:
        command.main(arguments)
    assert str(tmp_path / "out-problems.csv") in str(mistake.value)
    assert len(str(mistake.value)) <= 400
    command.main([*arguments, "--on-error", "skip", "--json"])
    said = capsys.readouterr()
    assert "reused 1 of 1 shards from an unfinished build" in said.err
    assert "note: left out: 3 missing images" in said.err
    assert f"images that were left out, with the reasons: {tmp_path}/out-problems.csv" in said.err
    assert json.loads(said.out)["problems"] == str(tmp_path / "out-problems.csv")
    command.main(["show", str(tmp_path / "out")])
    assert "note: left out: 2 duplicate images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--drop-duplicates-from", "train", "--allow-duplicates"], "Remove one of the two options"),
        (["--on-error", "ignore"], "invalid choice: 'ignore'"),
        (["--drop-duplicates-from", "query"], "invalid choice: 'query'"),
        (["--background", "nocolor"], "'nocolor' is not an opaque color"),
    ],
)
def test_options_that_make_no_sense_are_refused(tree, tmp_path, options, message):
    arguments = ["build", "dafre", str(tree), "--out", str(tmp_path / "out"), *options]
    assert message in refusal(command.main, arguments)


def test_folds_have_no_split_to_drop_from(five_fold_tree, tmp_path):
    arguments = ["build", "lsasrd", str(five_fold_tree), "--out", str(tmp_path / "out")]
    assert "has five folds" in refusal(command.main, [*arguments, "--drop-duplicates-from", "train"])


def test_a_message_stays_short_and_counts_in_words():
    problems = [Problem(Path("/" + "long/" * 200), "broken", "is a broken image " + "x" * 500)]
    assert len(str(BadPictures(problems, Path("/data/shards-problems.csv")))) <= 400
    assert counted(problems) == "1 broken image"
    assert counted([*problems, *problems]) == "2 broken images"
