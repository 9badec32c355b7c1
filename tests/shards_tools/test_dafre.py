"""The DAF:re source reads both layouts and rejects mistakes by file and line."""

import os
from pathlib import Path

import pytest

from shards_tools import __main__ as command
from shards_tools.build import BuildOptions, build
from shards_tools.manifest_file import read_manifest
from shards_tools.sources.dafre import scan
from shards_tools.splits import TEST, TRAIN, VAL
from tests.shards_tools.refusal import bad_pictures, complaint_about, refusal

LISTS = {
    "train": ["2,0001/1001.jpg", "0,0002/1002.jpg", "2,0003/1003.jpg", "1,0001/2001.jpg", "0,0004/1004.jpg"],
    "val": ["0,0005/1005.jpg", "2,0005/2005.jpg"],
    "test": ["1,0006/1006.jpg", "0,0007/1007.jpg"],
}
CLASSES = ["0,hakurei_reimu", '1,"bb_(fate/extra_ccc), the one"', "2,akari"]
PLACES = {1: (".", "data"), 2: ("labels", "faces")}


@pytest.fixture(params=[1, 2], ids=["v1", "v2"])
def version(request) -> int:
    return request.param


@pytest.fixture
def tree(tmp_path, make_picture, version) -> Path:
    return plant(tmp_path / "dafre", make_picture, *PLACES[version])


@pytest.fixture
def labels(tree, version) -> Path:
    return tree / PLACES[version][0]


def plant(root: Path, make_picture, labels: str, images: str) -> Path:
    (root / labels).mkdir(parents=True)
    for name, rows in {**LISTS, "classid_classname": CLASSES}.items():
        (root / labels / f"{name}.csv").write_text("\n".join(rows) + "\n")
    for number, row in enumerate(row for rows in LISTS.values() for row in rows):
        file = root / images / row.split(",")[1]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(make_picture(number, "JPEG"))
    return root


def refused(folder: Path) -> str:
    return refusal(scan, folder)


def test_every_row_is_an_image_with_its_class_and_split(tree, version):
    source = scan(tree)
    assert source.layout == "classes"
    assert source.works == ("hakurei_reimu", "bb_(fate/extra_ccc), the one", "akari"), "in the order of the ids"
    codes = {"train": TRAIN, "val": VAL, "test": TEST}
    rows = {(name, *row.split(",")) for name, rows in LISTS.items() for row in rows}
    assert {
        (codes[name], source.works[int(class_id)], tree / PLACES[version][1] / path) for name, class_id, path in rows
    } == {(image.split_code, image.work, image.path) for image in source.images}
    assert all(image.role == image.work for image in source.images)
    assert source.images[0].key == "0002-1002"
    assert (source.notes, source.left_out, source.cut) == ((), (), ())


def test_a_class_stands_side_by_side_in_the_order_of_its_list(tree):
    assert [image.path.stem for image in scan(tree).images] == [
        *("1002", "1004", "2001", "1001", "1003"),  # train
        *("1005", "2005"),
        *("1007", "1006"),
    ]


def test_it_builds_and_reads_well(tree, tmp_path, capsys):
    command.main(["build", "dafre", str(tree), "--out", str(tmp_path / "shards")])
    said = capsys.readouterr().err
    assert "9 images, 3 classes; " in said
    assert "train 5, val 2, test 2" in said
    assert "images per class: min 2, " in said
    assert "role" not in said
    manifest = read_manifest(tmp_path / "shards")
    assert manifest.works == manifest.roles == scan(tree).works
    assert manifest.work[manifest.split().test].tolist() == [0, 1]


def test_images_that_no_list_names_are_counted(tree, labels, version, make_picture):
    folder = tree / PLACES[version][1]
    for name in ("0001/7.jpg", "0001/8.png", "0009/9.jpg", "0001/.8.jpg", "0001/list.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(make_picture(1))
    (tree / "readme.md").write_text("hello")
    source = scan(tree)
    place = PLACES[version][1]
    assert source.notes == (f"3 images were skipped: not in any list, such as {place}/0001/7.jpg",)
    assert source.left_out == (tree / "readme.md",)
    assert len(source.images) == 9


def test_a_class_without_images_is_left_out_and_said(tree, labels):
    with open(labels / "classid_classname.csv", "a") as file:
        file.write("7,nobody\n")
    assert scan(tree).notes == ("1 classes of classid_classname.csv were skipped: they have no image",)
    for name in LISTS:
        rows = (labels / f"{name}.csv").read_text().splitlines()
        (labels / f"{name}.csv").write_text("\n".join(row for row in rows if not row.startswith("1,")))
    source = scan(tree)
    assert source.works == ("hakurei_reimu", "akari")
    assert any("class ids were renumbered" in note for note in source.notes)


@pytest.mark.parametrize(
    ("name", "row", "complaint"),
    [
        ("train", "0", "train.csv:6 has 1 cells instead of 2"),
        ("train", "0,0001/1.jpg,x", "train.csv:6 has 3 cells instead of 2"),
        ("train", "x,0002/1002.jpg", "train.csv:6 has the class id 'x', which is not an integer"),
        ("train", "-1,0002/1002.jpg", "train.csv:6 has the class id '-1', which is not an integer"),
        ("train", "9" * 5000 + ",0002/1002.jpg", "which is not an integer"),
        ("val", "3,0002/1002.jpg", "val.csv:3 has the class id 3, which"),
        ("test", "0,0008/8.jpg", "test.csv:3 names '0008/8.jpg', which is missing"),
        ("train", "0,0002/1002.jpg", "train.csv:6 repeats '0002/1002.jpg' of"),
        ("test", "0,0002/1002.jpg", "test.csv:3 repeats '0002/1002.jpg' of"),
        ("test", "0,/etc/passwd", "test.csv:3 names '/etc/passwd', which is absolute"),
        ("test", "0,../../0002/1002.jpg", "which is outside"),
        ("test", "0,0002/1002.psd", "which is not an image: its suffix must be .jpg"),
        ("test", '0,"0002/1002.jpg', "test.csv:3 is not a valid row"),
        ("classid_classname", "2,other", "classid_classname.csv:4 repeats the class id 2"),
        ("classid_classname", "3,akari", "classid_classname.csv:4 repeats the class name 'akari' of line 3"),
    ],
)
def test_a_bad_row_is_named_with_file_and_line(tree, labels, name, row, complaint):
    with open(labels / f"{name}.csv", "a") as file:
        file.write(f"{row}\n")
    message = complaint_about(scan, tree)
    assert complaint in message
    assert str(labels) in message


def test_the_first_line_of_an_image_in_two_lists_is_told(tree, labels):
    with open(labels / "test.csv", "a") as file:
        file.write("0,0002/1002.jpg\n")
    assert f"of {labels / 'train.csv'}:2. Remove one of the two lines." in refused(tree)


@pytest.mark.parametrize("name", ["train", "val", "test", "classid_classname"])
def test_a_missing_list_is_named(tree, labels, name, version):
    (labels / f"{name}.csv").unlink()
    expected = "is not a DAF:re tree" if (version, name) == (1, "train") else f"{labels / name}.csv is missing"
    assert expected in refused(tree)


def test_bytes_that_are_no_text_are_named(tree, labels):
    (labels / "val.csv").write_bytes(b"0,0005/1005.jpg\n\xff\xfe\n")
    assert f"{labels / 'val.csv'} is not UTF-8 text" in refused(tree)


def test_a_class_that_is_asked_for_but_never_trained_on_is_named(tree, labels):
    rows = (labels / "train.csv").read_text().splitlines()
    (labels / "train.csv").write_text("\n".join(row for row in rows if not row.startswith("1,")))
    assert "1006.jpg is in test, but its class 'bb_(fate/extra_ccc), the one' has no image in train" in refused(tree)


def test_a_missing_folder_of_images_is_named(tree, version):
    folder = tree / PLACES[version][1]
    folder.rename(tree / "fullMin256")
    assert f"{folder} is missing" in refused(tree)
    assert "build dafull" in refused(tree)


def test_what_is_no_tree_is_refused(tmp_path):
    assert "is not a folder" in refused(tmp_path / "nowhere")
    assert "is not a DAF:re tree" in refused(tmp_path)
    (tmp_path / "labels").mkdir()
    (tmp_path / "train.csv").write_text("")
    assert "has both train.csv and labels" in refused(tmp_path)


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir], ids=["fifo", "folder"])
def test_what_is_no_file_in_the_place_of_an_image_is_missing(tree, version, make):
    path = tree / PLACES[version][1] / "0002/1002.jpg"
    path.unlink()
    make(path)
    assert f"1002.jpg', which is missing from {tree}" in complaint_about(scan, tree)


def test_links_that_lead_out_of_the_tree_are_named(tree, version, tmp_path):
    folder = tree / PLACES[version][1]
    (folder / "0002/1002.jpg").rename(tmp_path / "outside.jpg")
    link = folder / "0002/1002.jpg"
    link.symlink_to(tmp_path / "outside.jpg")
    assert f"{link} is a link that leads out of {tree}" in refused(tree)
    link.unlink()
    link.symlink_to("../0003/1003.jpg")
    assert len(scan(tree).images) == 9
    (folder / "0099").symlink_to("0003")
    assert "0099 is a link to a folder, which is not followed" in refused(tree)
    (folder / "0099").unlink()
    folder.rename(tmp_path / "images")
    folder.symlink_to(tmp_path / "images")
    assert f"{folder} is a link that leads out of {tree}" in refused(tree)


@pytest.mark.parametrize("row", ["val", "test"])
def test_an_image_on_two_sides_is_refused_unless_allowed(tree, version, tmp_path, row):
    folder = tree / PLACES[version][1]
    (folder / LISTS[row][0].split(",")[1]).write_bytes((folder / "0002/1002.jpg").read_bytes())
    (problem,) = bad_pictures(scan(tree), tmp_path / "shards")
    assert problem.path == folder / "0002/1002.jpg"
    assert problem.reason.endswith(f" in {row}")
    assert build(scan(tree), tmp_path / "shards", BuildOptions(allow_duplicates=True)).duplicates.num_on_two_sides == 1
