"""What the LSASRD source reads, and what it refuses, by name and in one line."""

from pathlib import Path

import pytest

from shards_tools.errors import Error
from shards_tools.sources.lsasrd import scan
from shards_tools.splits import TEST_GALLERY, TEST_QUERY, TRAIN


def refused(folder: Path) -> str:
    with pytest.raises(Error) as mistake:
        scan(folder)
    message = str(mistake.value)
    assert "\n" not in message
    return message


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
    assert f"{tmp_path} is no LSASRD tree" in refused(tmp_path)
    assert "is no folder" in refused(tmp_path / "nowhere")


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
        ("ASRD/train/FR0009", "is a folder without any role"),
        ("ASRD/train/JP0001/0009", "is a role without images"),
        ("ASRD/train/JP0001/main", "is no role: its name is a number"),
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
        ("train/JP0001/0001/JP0001_0001_01.webp", "is no image"),
        ("train/JP0001/0001/JP0001_0001_" + "x" * 100 + ".jpg", "has too long a name"),
        ("train/JP0001/list.txt", "is a file where a role's folder should be"),
        ("train/list.txt", "is a file where a work's folder should be"),
    ],
)
def test_a_file_that_does_not_fit_is_named(plain_tree, path, complaint):
    (plain_tree / "ASRD" / path).write_bytes(b"")
    assert f"{plain_tree / 'ASRD' / path} {complaint}" in refused(plain_tree)


def test_two_files_that_differ_in_their_ending_alone_are_named(plain_tree):
    role = plain_tree / "ASRD/train/JP0001/0001"
    (role / "JP0001_0001_00.jpeg").write_bytes((role / "JP0001_0001_01.png").read_bytes())
    (role / "JP0001_0001_00.png").write_bytes((role / "JP0001_0001_01.png").read_bytes())
    assert f"{role / 'JP0001_0001_00.jpeg'} and" in refused(plain_tree)
