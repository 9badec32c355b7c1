"""The DAFull source reads the whole images of DAF:re's lists with their tags."""

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards_tools.build import build
from shards_tools.manifest_file import read_manifest
from shards_tools.sources.dafull import parse_tags, scan
from tests.shards_tools.refusal import refusal

HEADER = "id,dir,class_id,tags_cat0,tags_cat3,tags_cat4"
ROWS = {
    "train": [
        """1001,0001/1001.jpg,1,"['long hair', ""girl's hat"", '1 girl']","['touhou']","['reimu']\"""",
        """1002,0002/1002.jpg,0,['unlabeled'],['x'],['y']""",
    ],
    "val": ["""1003,0003/1003.jpg,0,"['1 girl', 'smile']",[],[]"""],
    "test": ["1004,0004/1004.jpg,1,[],[],[]"],
}


@pytest.fixture
def tree(tmp_path, make_picture) -> Path:
    root = tmp_path / "dafull"
    (root / "labels").mkdir(parents=True)
    (root / "labels/classid_classname.csv").write_text("0,akari\n1,reimu\n")
    for name, rows in ROWS.items():
        (root / f"labels/{name}_tags.csv").write_text("\n".join([HEADER, *rows]) + "\n")
        for row in rows:
            file = root / "fullMin256" / row.split(",")[1]
            file.parent.mkdir(parents=True)
            file.write_bytes(make_picture(int(file.stem), "JPEG", (30, 20)))
    return root


def refused(folder: Path) -> str:
    return refusal(scan, folder)


def test_images_come_with_their_description_tags(tree, tmp_path):
    source = scan(tree)
    assert source.works == ("akari", "reimu")
    assert {image.path.stem: image.tags for image in source.images} == {
        "1001": ("long hair", "girl's hat", "1 girl"),
        "1002": ("unlabeled",),
        "1003": ("1 girl", "smile"),
        "1004": (),
    }
    build(source, tmp_path / "shards")
    manifest = read_manifest(tmp_path / "shards")
    place = manifest.keys.tolist().index("0003-1003")
    assert manifest.tags.of(place) == ["1 girl", "smile"]


@pytest.mark.parametrize(
    ("tags", "complaint"),
    [
        ("long hair", "Write them as a list"),
        ("[1]", "Write them as a list"),
        ("\"('a',)\"", "Write them as a list"),
        ("\"['a', __import__('os').system('false')]\"", "Write them as a list"),
        ("[" * 3000 + "]" * 3000, "Write them as a list"),
        ("[],[]", "has 7 cells instead of 6"),
    ],
)
def test_tags_that_are_no_list_of_words_are_named(tree, tags, complaint):
    with open(tree / "labels/val_tags.csv", "a") as file:
        file.write(f"1,0004/1.jpg,0,{tags},[],[]\n")
    message = refused(tree)
    assert f"{tree}/labels/val_tags.csv:3 " in message
    assert complaint in message
    assert len(message) < 500


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.text("',ab \\"), max_size=4))
def test_a_list_that_is_written_out_is_read_back(tags):
    assert parse_tags(repr(tags)) == ast.literal_eval(repr(tags)) == tags


@pytest.mark.parametrize("text", ["['a', 'b']", "[]", "['a','b']", "['']", "['\\x41']", '["a"]', "['a' 'b']", "['a',]"])
def test_a_list_is_read_as_python_reads_it(text):
    assert parse_tags(text) == ast.literal_eval(text)


@pytest.mark.parametrize(("path", "complaint"), [("fullMin256", "is missing"), ("labels/val_tags.csv", "is missing")])
def test_a_missing_part_is_named(tree, path, complaint):
    (tree / path).rename(tree / "elsewhere")
    assert f"{tree / path} {complaint}" in refused(tree)


@pytest.mark.parametrize("text", ["", "1,0001/1.jpg,0,[],[],[]\n"])
def test_a_list_without_its_header_is_named(tree, text):
    (tree / "labels/test_tags.csv").write_text(text)
    assert f"{tree}/labels/test_tags.csv:1 should be the header {HEADER}" in refused(tree)
