"""What the LSASRD source reads, and what it rejects, by name and in one line."""

import os
import shutil
from pathlib import Path

import pytest

from shards_tools.build import build
from shards_tools.sources.lsasrd import scan
from shards_tools.splits import TEST_GALLERY, TEST_QUERY, TRAIN
from shards_tools.verify import verify
from tests.shards_tools.refusal import refusal


def refused(folder: Path) -> str:
    return refusal(scan, folder)


def test_a_plain_tree_gives_every_image_its_labels(plain_tree):
    source = scan(plain_tree)
    assert source.layout == "plain"
    assert len(source.images) == 3 * (5 + 6 + 2 + 3)
    assert {(i.work, i.split_code, i.fold) for i in source.images} == {
        ("CN0002", TRAIN, -1),
        ("JP0001", TRAIN, -1),
        ("US0003", TEST_QUERY, -1),
        ("US0003", TEST_GALLERY, -1),
    }
    image = source.images[0]
    assert image.path == plain_tree / "ASRD/train/CN0002/0001/CN0002_0001_00.png"
    assert (image.key, image.role) == ("train-CN0002_0001_00", "CN0002/0001")


def test_a_five_fold_tree_tells_the_folds(five_fold_tree):
    source = scan(five_fold_tree)
    assert source.layout == "five-fold"
    assert {(i.work[-1], i.fold) for i in source.images} == {(str(fold), fold) for fold in range(5)}


def test_the_tree_itself_may_be_named(plain_tree):
    images = [(image.key, image.path) for image in scan(plain_tree).images]
    assert [(image.key, image.path) for image in scan(plain_tree / "ASRD").images] == images


def test_strangers_are_named_and_hidden_files_ignored(plain_tree):
    (plain_tree / "readme.txt").write_text("hello")
    (plain_tree / "ASRD/notes").mkdir()
    (plain_tree / "ASRD/train/.DS_Store").write_text("")
    (plain_tree / "ASRD/train/JP0001/0001/._JP0001_0001_00.jpg").write_text("")
    source = scan(plain_tree)
    assert source.left_out == (plain_tree / "readme.txt", plain_tree / "ASRD/notes")
    assert len(source.images) == 48


def test_a_tree_without_test_is_complete(plant):
    assert len(scan(plant({"train": {"JP0001": (1, 2)}})).images) == 6


def test_odd_letters_in_a_file_name_become_a_plain_key(plain_tree):
    role = plain_tree / "ASRD/train/JP0001/0001"
    (role / "JP0001_0001_00.jpg").rename(role / "JP0001_0001_á.b c.jpg")
    keys = [image.key for image in scan(plain_tree).images if image.path.parent == role]
    assert keys == ["train-JP0001_0001_01", "train-JP0001_0001_02", "train-JP0001_0001_%C3%A1%2Eb%20c"]


def test_a_folder_that_is_no_tree_is_refused(tmp_path):
    (tmp_path / "pictures").mkdir()
    assert f"{tmp_path} is not an LSASRD tree" in refused(tmp_path)
    assert "is not a folder" in refused(tmp_path / "nowhere")


def test_two_trees_are_refused(plain_tree):
    (plain_tree / "ASRDf").mkdir()
    assert "holds both ASRD and ASRDf" in refused(plain_tree)


@pytest.mark.parametrize(("missing", "tree"), [("ASRD/test", "plain_tree"), ("ASRDf/3", "five_fold_tree")])
def test_a_missing_part_is_named(missing, tree, request):
    root = request.getfixturevalue(tree)
    (root / missing).rename(root / "elsewhere")
    assert f"{root / missing} is missing" in refused(root)


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("ASRD/train/FR0009", "is a folder without a role"),
        ("ASRD/train/JP0001/0009", "is a role without images"),
        ("ASRD/train/JP0001/main", "is not a role: its name must be a number"),
    ],
)
def test_an_empty_or_misnamed_folder_is_named(plain_tree, path, complaint):
    (plain_tree / path).mkdir()
    assert f"{plain_tree / path} {complaint}" in refused(plain_tree)


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("train/JP0001/0001/JP0001_0001.jpg", "has a wrong name"),
        ("train/JP0001/0001/JP0001_0001_0_1.jpg", "has a wrong name"),
        ("train/JP0001/0001/JP0001_0002_01.jpg", "has a wrong name"),
        ("train/JP0001/0001/JP0002_0001_01.jpg", "has a wrong name"),
        ("train/JP0001/0001/JP0001_main_01.jpg", "has a wrong name"),
        ("train/JP0001/0001/JP0001_0001_" + "x" * 100 + ".jpg", "has too long a name"),
        ("train/JP0001/list.txt", "is a file where a role's folder should be"),
        ("train/list.txt", "is a file where a work's folder should be"),
    ],
)
def test_a_file_that_does_not_fit_is_named(plain_tree, path, complaint):
    (plain_tree / "ASRD" / path).write_bytes(b"")
    assert f"{plain_tree / 'ASRD' / path} {complaint}" in refused(plain_tree)


def test_files_that_differ_only_in_their_suffixes_are_different_images(plain_tree, tmp_path, make_picture):
    role = plain_tree / "ASRD/train/JP0001/0001"
    before = {image.path: image.key for image in scan(plain_tree).images}
    (role / "JP0001_0001_00.jpeg").write_bytes(make_picture(98, "JPEG"))
    (role / "JP0001_0001_00.png").write_bytes(make_picture(99))
    manifest = build(scan(plain_tree), tmp_path / "out")
    names = {"jpeg", "jpg", "png"}
    assert {f"train-JP0001_0001_00+{name}" for name in names} == set(manifest.keys) - set(before.values())
    assert manifest.num_images == len(before) + 2
    verify(tmp_path / "out", "deep")


def test_files_that_are_no_images_are_skipped_with_a_note(plain_tree):
    role = plain_tree / "ASRD/train/JP0001/0001"
    expected = scan(plain_tree).images
    for name in ("JP0001_0001_00.txt", "readme"):
        (role / name).write_text("1girl, solo")
    source = scan(plain_tree)
    assert source.images == expected
    example = "train/JP0001/0001/JP0001_0001_00.txt"
    assert source.notes == (f"2 files were skipped: they are not images, such as {example}",)


@pytest.mark.parametrize(
    "path", ["train/JP0001/0001/JP0001_0001_99.jpg", "train/JP0001/0009", "train/FR0009", "query", "test/US0003"]
)
def test_a_link_that_leads_out_of_the_tree_is_named(plain_tree, tmp_path, path):
    link = plain_tree / "ASRD" / path
    outside = tmp_path / "outside"
    if link.exists():
        link.rename(outside)
    elif link.suffix:
        shutil.copy(plain_tree / "ASRD/train/JP0001/0001/JP0001_0001_00.jpg", outside)
    else:
        outside.mkdir()
    link.symlink_to(outside)
    assert f"{link} is a link that leads out of {plain_tree / 'ASRD'}" in refused(plain_tree)
    link.unlink()
    link.symlink_to(tmp_path / "nowhere")
    if path != "query":  # without query, test would be alone
        assert f"{link} is a link that leads out" in refused(plain_tree)


def test_links_within_the_tree_and_to_the_tree_are_followed(plain_tree, tmp_path):
    role = plain_tree / "ASRD/train/JP0001/0001"
    (role / "JP0001_0001_99.jpg").symlink_to("JP0001_0001_00.jpg")
    (plain_tree / "ASRD").rename(tmp_path / "images")
    (plain_tree / "ASRD").symlink_to(tmp_path / "images")
    assert len(scan(plain_tree).images) == 49
    (tmp_path / "link").symlink_to(plain_tree)
    assert len(scan(tmp_path / "link").images) == 49


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir], ids=["fifo", "folder"])
def test_what_is_no_file_in_the_place_of_an_image_is_named_and_not_opened(plain_tree, make):
    path = plain_tree / "ASRD/train/JP0001/0001/JP0001_0001_99.jpg"
    make(path)
    assert f"{path} should be an image, but is not a regular file" in refused(plain_tree)


@pytest.mark.parametrize(("path", "kind"), [("train/FR0009", "work"), ("train/JP0001/0009", "role")])
def test_a_fifo_in_the_place_of_a_folder_is_named_and_not_opened(plain_tree, path, kind):
    os.mkfifo(plain_tree / "ASRD" / path)
    assert f"{plain_tree / 'ASRD' / path} is a file where a {kind}'s folder should be" in refused(plain_tree)
