"""Plain folders of images: classes, or works with roles, distinguished by depth; names of any text."""

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from shards_tools import __main__ as command
from shards_tools.build import build
from shards_tools.manifest_file import read_manifest
from shards_tools.sources import lsasrd
from shards_tools.sources.folder import scan
from shards_tools.splits import SPLIT_NAMES
from shards_tools.verify import verify
from tests.shards_tools.refusal import bad_pictures, refusal

Counts = dict[str, int]


@pytest.fixture
def plant_folders(tmp_path, make_picture):
    """`plant_folders({"reimu": 3, "train/reimu": 2, ...})` writes that many images into each folder."""

    def write(counts: Counts) -> Path:
        seed = 0
        for folder, num_images in counts.items():
            place = tmp_path / "pictures" / folder
            place.mkdir(parents=True)
            for number in range(num_images):
                seed += 1
                (place / f"{number}.png").write_bytes(make_picture(seed))
        return tmp_path / "pictures"

    return write


def refused(folder: Path) -> str:
    return refusal(scan, folder)


def splits(folder: Path, out: Path) -> Counter[tuple[str, str]]:
    build(scan(folder), out)
    manifest = verify(out, "deep")
    return Counter(
        (manifest.roles[role], SPLIT_NAMES[code])
        for role, code in zip(manifest.role.tolist(), manifest.split_code.tolist(), strict=True)
    )


def test_classes_without_splits_get_val_and_test_and_a_note(plant_folders, tmp_path):
    root = plant_folders({"reimu": 20, "marisa": 10, "alice": 3, "one": 1, "two": 2})
    assert splits(root, tmp_path / "shards") == {
        ("reimu", "train"): 14,
        ("reimu", "val"): 2,
        ("reimu", "test"): 4,
        ("marisa", "train"): 7,
        ("marisa", "val"): 1,
        ("marisa", "test"): 2,
        ("alice", "train"): 1,
        ("alice", "val"): 1,
        ("alice", "test"): 1,
        ("one", "train"): 1,
        ("two", "train"): 1,
        ("two", "test"): 1,
    }
    manifest = read_manifest(tmp_path / "shards")
    assert (manifest.layout, manifest.works) == ("classes", ("alice", "marisa", "one", "reimu", "two"))
    assert any(
        note.startswith("the source has no val and test: taken from each class of train") for note in manifest.notes
    )


@pytest.mark.parametrize(
    ("parts", "expected", "noted"),
    [
        (("train", "val", "test"), {"train": 8, "val": 8, "test": 8}, []),
        (
            ("train", "test"),
            {"train": 7, "val": 1, "test": 8},
            ["the source has no val: taken from each class of train"],
        ),
        (("train", "val"), {"train": 8, "val": 8}, []),
        (("train",), {"train": 7, "val": 1}, ["the source has no val: taken from each class of train"]),
    ],
)
def test_ready_splits_of_classes_are_kept_and_a_missing_val_is_cut(plant_folders, tmp_path, parts, expected, noted):
    root = plant_folders({f"{part}/{name}": 8 for part in parts for name in ("a", "b")})
    assert splits(root, tmp_path / "shards") == {
        (name, split): num_images for name in ("a", "b") for split, num_images in expected.items()
    }
    notes = read_manifest(tmp_path / "shards").notes
    assert [note.partition(" with")[0] for note in notes] == noted


def test_works_of_roles_are_a_plain_layout(plant_folders, tmp_path):
    root = plant_folders({f"{work}/{role}": 2 for work in ("touhou", "fate") for role in ("main", "2", "お嬢様")})
    found = splits(root, tmp_path / "shards")
    assert sum(found.values()) == 12
    by_split = Counter(split for _, split in found)
    assert by_split == {"train": 2, "val_query": 2, "val_gallery": 2}, "of a work's three roles one stays in train"
    manifest = read_manifest(tmp_path / "shards")
    assert (manifest.layout, manifest.works) == ("plain", ("fate", "touhou"))
    assert "touhou/お嬢様" in manifest.roles


def test_an_lsasrd_tree_is_read_as_lsasrd_reads_it(plain_tree):
    def labels(source):
        return {(image.path, image.work, image.role, image.split_code) for image in source.images}

    assert labels(scan(plain_tree / "ASRD")) == labels(lsasrd.scan(plain_tree))


def test_ready_splits_of_works_are_kept(plant_folders, tmp_path):
    root = plant_folders({"train/a/1": 2, "train/a/2": 2, "query/b/3": 2, "test/b/4": 3})
    found = splits(root, tmp_path / "shards")
    assert (found["b/3", "test_query"], found["b/4", "test_gallery"]) == (2, 3)


@pytest.mark.parametrize("name", ["博麗 霊夢", "a.b.c", "x-y", "a%2Fb", "d'Arc & co; $(ls)", "ü" * 60])
def test_names_are_any_text(plant_folders, tmp_path, make_picture, name):
    root = plant_folders({name: 3, "other": 3})
    (root / name / f"{name}.v2 (1).jpg").write_bytes(make_picture(99, "JPEG"))
    build(scan(root), tmp_path / "shards")
    manifest = verify(tmp_path / "shards", "deep")
    assert set(manifest.works) == {name, "other"}
    assert len(set(manifest.keys.tolist())) == 7
    assert all(key.isascii() and "." not in key and "/" not in key and len(key) <= 96 for key in manifest.keys)


def test_it_reads_well(plant_folders, tmp_path, capsys):
    root = plant_folders({"reimu": 8, "marisa": 8})
    (root / "readme.txt").write_text("hello")
    command.main(["build", "folder", str(root), "--out", str(tmp_path / "shards")])
    said = capsys.readouterr().err
    assert f"skipped, not part of the tree: {root / 'readme.txt'}" in said
    assert "16 images, 2 classes;" in said
    assert "note: the source has no val and test: taken from each class of train" in said


@pytest.mark.parametrize(
    ("counts", "complaint"),
    [
        ({}, "has no images in folders. Add some as CLASS/IMAGE or WORK/ROLE/IMAGE"),
        ({"a": 1, "b/c": 1}, "are at different depths"),
        ({"a": 1, "a/c": 1}, "are at different depths"),
        ({"a/b/c": 1}, "is too deep"),
        ({"a": 1, "b": 0}, "b is empty. Add images or remove it"),
        ({"train": 1}, "is not in a class"),
        ({"train/a": 1, "other": 1}, "other is next to train, but is not train, val, test, query or gallery"),
        ({"train/a": 1, "query/a": 1, "test/a": 1}, "query is only for WORK/ROLE/IMAGE"),
        ({"train/a/b": 1, "val/a/b": 1, "test/a/b": 1}, "val is only for CLASS/IMAGE"),
        ({"train/a/b": 1, "test/c/d": 1}, "test needs a folder query next to it"),
        ({"train/a/b": 1, "query/c/d": 1}, "query needs a folder gallery next to it"),
        ({"train/a": 1, "test/b": 1}, "is in test, but its class 'b' has no image in train"),
        ({"train/a": 1, "test/a/b": 1}, "are at different depths"),
    ],
    ids=str,
)
def test_a_folder_that_does_not_fit_is_named(plant_folders, tmp_path, counts, complaint):
    (tmp_path / "pictures").mkdir()
    plant_folders(counts)
    assert complaint in refused(tmp_path / "pictures")


@pytest.mark.parametrize(
    ("pictures", "complaint"),
    [({"train": 2}, "is not in a class"), ({"": 2}, "has no images in folders")],
)
def test_a_list_next_to_pictures_without_classes_is_named(plant_folders, tmp_path, pictures, complaint):
    root = plant_folders(pictures)
    (folder := root / next(iter(pictures))).joinpath("metadata.csv").write_text("file_name,label\n")
    message = refused(root)
    assert complaint in message
    assert f"If metadata.csv holds their labels, build `list {folder}` instead." in message


@pytest.mark.parametrize(
    ("path", "make", "complaint"),
    [
        ("a/x.jpg", os.mkfifo, "is not a regular file"),
        ("a/x.jpg", lambda path: path.symlink_to("/etc/passwd"), "is a link that leads out"),
        ("c", lambda path: path.symlink_to("/etc"), "is a link that leads out"),
        ("train", lambda path: path.symlink_to("/etc"), "is next to train"),
    ],
)
def test_what_does_not_fit_in_a_class_is_named(plant_folders, path, make, complaint):
    root = plant_folders({"a": 1, "b": 1})
    make(root / path)
    message = refused(root)
    assert complaint in message
    assert str(root) in message


def test_hidden_files_are_ignored_and_links_within_followed(plant_folders):
    root = plant_folders({"a": 2, "b": 1})
    (root / "a/.DS_Store").touch()
    (root / ".cache").mkdir()
    (root / "b/9.png").symlink_to("../a/0.png")
    (root / "c").symlink_to("a")
    assert Counter(image.work for image in scan(root).images) == {"a": 2, "b": 2, "c": 2}


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    assert "is not a folder" in refused(tmp_path / "nowhere")


def test_a_copy_in_ready_train_and_test_is_refused(plant_folders, tmp_path):
    root = plant_folders({"train/a": 2, "test/a": 2})
    shutil.copy(root / "train/a/0.png", root / "test/a/1.png")
    (problem,) = bad_pictures(scan(root), tmp_path / "shards")
    assert (problem.path, problem.kind) == (root / "train/a/0.png", "duplicate")
    assert problem.reason == f"is the same image as {root / 'test/a/1.png'} in test"


@pytest.mark.parametrize("name", ["0.txt", "0.json", "readme", "x.psd"])
def test_files_beside_images_that_are_no_images_are_skipped_with_a_note(plant_folders, name):
    root = plant_folders({"a": 2, "b": 2})
    expected = scan(root)
    (root / "b" / name).write_text("1girl, solo")
    found = scan(root)
    assert found.images == expected.images
    assert set(found.notes) - set(expected.notes) == {f"1 files were skipped: they are not images, such as b/{name}"}


def test_files_that_differ_only_in_their_suffixes_are_different_images(plant_folders, tmp_path, make_picture):
    root = plant_folders({"a": 3, "b": 3})
    (root / "a/0.jpg").write_bytes(make_picture(98, "JPEG"))
    (root / "a/0.jpg.png").write_bytes(make_picture(99))
    manifest = build(scan(root), tmp_path / "shards")
    assert sorted(manifest.keys.tolist())[:3] == ["a-0%2Ejpg", "a-0+jpg", "a-0+png"]
    assert verify(tmp_path / "shards", "deep").num_images == 8


def test_links_out_of_the_folder_are_followed_if_asked_for(plant_folders, tmp_path, make_picture):
    root = plant_folders({"a": 2, "b": 2})
    (tmp_path / "elsewhere").mkdir()
    for number in range(3):
        (tmp_path / f"elsewhere/{number}.png").write_bytes(make_picture(100 + number))
    (root / "c").symlink_to(tmp_path / "elsewhere")
    (root / "a/7.png").symlink_to(tmp_path / "elsewhere/0.png")
    assert "Replace it with a copy, remove it or add --follow-links." in refused(root)
    arguments = ["build", "folder", str(root), "--out", str(tmp_path / "shards"), "--follow-links"]
    command.main(arguments)
    manifest = read_manifest(tmp_path / "shards")
    assert Counter(manifest.works[work] for work in manifest.work) == {"a": 3, "b": 2, "c": 3}
    assert "is a link that leads out" in refused(root), "only that build followed links"
