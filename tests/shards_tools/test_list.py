"""Lists of paths and labels: one file, or one per split, in the forms that people write."""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from shards_tools import __main__ as command
from shards_tools.build import build
from shards_tools.sources.list import scan
from shards_tools.splits import SPLIT_NAMES, TRAIN
from shards_tools.verify import verify
from tests.shards_tools.refusal import refusal

PlantLists = Callable[..., Path]


@pytest.fixture
def plant_lists(tmp_path: Path, make_picture: Callable[..., bytes]) -> PlantLists:
    """`plant_lists({"train.csv": text}, images)` writes lists, and one picture per path."""

    def write(lists: Mapping[str, str], images: tuple[str, ...] = ("i/1.jpg", "i/2.jpg", "i/3.jpg", "i/4.jpg")) -> Path:
        root = tmp_path / "data"
        for seed, name in enumerate(images):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(make_picture(seed, "JPEG"))
        for name, text in lists.items():
            (root / name).write_text(text, encoding="utf-8")
        return root

    return write


def labels(source: Path) -> dict[str, tuple[str, str]]:
    """Return file name -> role (or class) and split."""
    return {image.path.name: (image.role, SPLIT_NAMES[image.split_code]) for image in scan(source).images}


EXPECTED = {"1.jpg": ("rem", "train"), "2.jpg": ("ram", "train"), "3.jpg": ("rem", "val"), "4.jpg": ("ram", "test")}


@pytest.mark.parametrize(
    "lists",
    [
        {"all.csv": "path,label,split\ni/1.jpg,rem,train\ni/2.jpg,ram,Training\ni/3.jpg,rem,valid\ni/4.jpg,ram,TEST\n"},
        {"all.csv": "Set,Class,File_Name\ntrain,rem,i/1.jpg\ntrain,ram,i/2.jpg\nval,rem,i/3.jpg\ntest,ram,i/4.jpg\n"},
        {"all.csv": "i/1.jpg,rem,train\ni/2.jpg,ram,train\ni/3.jpg,rem,val\ni/4.jpg,ram,test\n"},
        {"all.tsv": "img\twork\tpart\ni/1.jpg\trem\ttrain\ni/2.jpg\tram\ttrain\ni/3.jpg\trem\tdev\ni/4.jpg\tram\ttest"},
        {"train.csv": "i/1.jpg,rem\ni/2.jpg,ram\n", "val.csv": "i/3.jpg,rem\n", "test.csv": "i/4.jpg,ram\n"},
        {"train.txt": "i/1.jpg rem\ni/2.jpg   ram\n", "val.txt": "i/3.jpg rem\n", "test.txt": "i/4.jpg ram\n"},
        {"train_list.txt": "i/1.jpg\trem\ni/2.jpg\tram\n", "valid.lst": "i/3.jpg rem\n", "Test.TXT": "i/4.jpg,ram\n"},
        {
            "train.csv": "rem,./i/1.jpg\nram,i\\2.jpg\n",
            "val.csv": "class,path\nrem,i//3.jpg",
            "test.csv": "ram,i/4.jpg",
        },
    ],
    ids=lambda lists: "+".join(lists),
)
def test_every_form_of_a_list_gives_the_same_labels(plant_lists, lists):
    assert labels(plant_lists(lists)) == EXPECTED


def test_a_list_is_given_itself_and_images_that_it_does_not_name_are_counted(plant_lists):
    root = plant_lists({"a.csv": "i/1.jpg,rem\ni/2.jpg,rem\ni/3.jpg,rem\n", "b.csv": "i/4.jpg,ram\n"})
    source = scan(root / "a.csv")
    assert Counter(image.split_code for image in source.images) == {TRAIN: 3}
    assert "1 images were skipped: not in any list, such as i/4.jpg" in source.notes
    assert "needs one list, or one per split" in refusal(scan, root)


@pytest.mark.parametrize("delimiter", [";", "\t"])
@pytest.mark.parametrize("header", ["path{}label{}split\r\n", ""])
def test_a_csv_may_have_semicolons_or_tabs_and_commas_in_its_cells(plant_lists, delimiter, header):
    rows = ("i/1.jpg{}rem, the maid{}train\r\n", "i/2.jpg{}ram{}train\r\n", '"i/a; b.jpg"{}ram{}test\r\n')
    text = "".join((header, *rows)).format(*[delimiter] * 8)
    root = plant_lists({"all.csv": text}, ("i/1.jpg", "i/2.jpg", "i/a; b.jpg"))
    assert labels(root) == {"1.jpg": ("rem, the maid", "train"), "2.jpg": ("ram", "train"), "a; b.jpg": ("ram", "test")}


@pytest.mark.parametrize("name", ["train.csv", "train.txt"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-8"])
def test_a_list_may_be_any_unicode_with_a_byte_order_mark(plant_lists, name, encoding):
    root = plant_lists({})
    (root / name).write_bytes("\ufeffi/1.jpg\t\u7dbe\u6ce2\r\ni/2.jpg\tM\u00fcller\r\n".encode(encoding))
    assert labels(root) == {"1.jpg": ("\u7dbe\u6ce2", "train"), "2.jpg": ("M\u00fcller", "train")}


def test_empty_rows_and_columns_are_skipped_without_a_note(plant_lists):
    root = plant_lists({"train.csv": ",image,id,\n0,i/1.jpg,rem,\n,,,\n\n1,i/2.jpg,ram,\n,,,\n"})
    assert labels(root) == {"1.jpg": ("rem", "train"), "2.jpg": ("ram", "train")}
    assert not any("columns" in note for note in scan(root).notes)


def test_a_list_that_ends_within_a_character_is_refused_in_one_line(plant_lists):
    root = plant_lists({})
    (root / "train.csv").write_bytes("\ufeffi/1.jpg,rem".encode("utf-16-le")[:-1])
    assert "train.csv is not UTF-16-LE text after line 0: truncated data. Save it as UTF-8" in refusal(scan, root)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("image,id\ni/1.jpg,rem\n", "rem"),
        ("Id,Image,split\nrem,i/1.jpg,train\n", "rem"),
        ("id,image,character\n0,i/1.jpg,rem\n", "rem"),
    ],
)
def test_an_id_is_the_label_where_no_other_column_can_be(plant_lists, text, expected):
    assert labels(plant_lists({"all.csv": text}))["1.jpg"][0] == expected


def test_numbers_are_ordered_by_value(plant_lists):
    assert scan(plant_lists({"a.txt": "i/1.jpg 10\ni/2.jpg 9\ni/3.jpg x\n"})).works == ("9", "10", "x")


def test_roles_make_works_and_query_without_roles_makes_identities(plant_lists, tmp_path):
    rows = "i/1.jpg,a,1,train\ni/2.jpg,a,2,train\ni/3.jpg,b,1,query\ni/4.jpg,b,2,gallery\n"
    root = plant_lists({"all.csv": "path,work,role,split\n" + rows})
    manifest = build(scan(root), tmp_path / "works")
    verify(tmp_path / "works", "deep")
    assert (manifest.layout, manifest.roles) == ("plain", ("a/1", "a/2", "b/1", "b/2"))
    (root / "all.csv").unlink()
    for name, row in (("train", "i/1.jpg 0\ni/2.jpg 1"), ("query", "i/3.jpg 2"), ("gallery", "i/4.jpg 2")):
        (root / f"{name}.txt").write_text(row)
    manifest = build(scan(root), tmp_path / "identities")
    verify(tmp_path / "identities", "deep")
    assert (manifest.layout, manifest.works) == ("identities", ("0", "1", "2"))
    assert (len(manifest.split().test_query), len(manifest.split().test_gallery)) == (1, 1)


def test_the_command_builds_a_list_and_says_which_columns_it_skips(plant_lists, tmp_path, capsys):
    root = plant_lists({"all.csv": "path,label,width\ni/1.jpg,a,12\ni/2.jpg,a,12\ni/3.jpg,a,12\n"})
    command.main(["build", "list", str(root / "all.csv"), "--out", str(tmp_path / "shards")])
    said = capsys.readouterr().err
    assert "note: columns of all.csv were skipped: 'width'" in said
    assert "train 1, val 1, test 1" in said


@pytest.mark.parametrize("quoted", ['"i/a, b.jpg",rem\n"i/1.jpg",rem\n', '"i/1.jpg",rem\n"i/a, b.jpg",rem\n'])
def test_a_quoted_comma_is_part_of_a_path(plant_lists, quoted):
    root = plant_lists({"train.csv": quoted}, ("i/1.jpg", "i/a, b.jpg"))
    assert labels(root) == {"1.jpg": ("rem", "train"), "a, b.jpg": ("rem", "train")}


def test_a_blank_is_part_of_a_path_that_a_tab_ends(plant_lists):
    root = plant_lists({"train.txt": "i/a b.jpg\trem x\n"}, ("i/a b.jpg",))
    assert labels(root) == {"a b.jpg": ("rem x", "train")}


@pytest.mark.parametrize(
    ("lists", "complaint"),
    [
        ({"train.txt": "i/1.jpg rem\ni/a b.jpg rem\n"}, "train.txt:2 has 3 cells instead of 2"),
        ({"train.txt": "i/a b.jpg rem\n"}, "train.txt:1 is not a path and a label"),
        ({"train.csv": "i/a, b.jpg,rem\n"}, "train.csv:1 is not a path and a label"),
        ({"train.csv": "i/1.jpg,rem\ni/a, b.jpg,rem\n"}, "train.csv:2 has 3 cells instead of 2"),
        ({"train.csv": "i/1.jpg,rem,7\n"}, "add a header such as path,label,split,role"),
        ({"train.csv": "i/1.jpg,train\n"}, "train.csv:1 has the split's name 'train' as label"),
        ({"train.csv": "path,label\ni/1.jpg,\n"}, "train.csv:2 has nothing as label"),
        ({"all.csv": "path,label,split\ni/1.jpg,a,holdout\n"}, "all.csv:2 has the split 'holdout', which is not train"),
        ({"all.csv": "path,label,class\ni/1.jpg,a,b\n"}, "two columns for the label: ['label', 'class']. Rename one"),
        ({"all.csv": "path,width\ni/1.jpg,3\n"}, "no column for the label"),
        ({"all.csv": "path|label\ni/1.jpg|rem\n"}, "has one cell: ['path|label']. Separate the cells by commas"),
        ({"all.csv": "id,image,name\n0,i/1.jpg,rem\n"}, "no column for the label"),
        ({"all.csv": 'path;label\n"i/1.jpg;rem\n'}, "all.csv:2 is not a valid row"),
        ({"all.csv": ""}, "all.csv is empty"),
        ({"a.csv": "i/1.jpg,a", "b.csv": "i/2.jpg,a"}, "it has a.csv, b.csv"),
        ({"train.csv": "i/1.jpg,a", "Train.txt": "i/2.jpg a"}, "both mean train"),
        ({"train.csv": "i/1.jpg,a,train\n", "test.csv": "i/2.jpg,a,test\n"}, "the file's name is one too"),
        ({"query.csv": "i/1.jpg,a"}, "lists no gallery: a query is searched in a gallery"),
        ({"train.csv": "i/1.jpg,a", "gallery.csv": "i/2.jpg,a"}, "lists no query"),
        ({f"{name}.csv": f"i/{n}.jpg,a" for n, name in enumerate(("query", "gallery", "test"), 1)}, "both gallery and"),
        (
            {f"{name}.csv": f"i/{n}.jpg,a" for n, name in enumerate(("query", "gallery", "val"), 1)},
            "lists val, but val of",
        ),
        (
            {"train.csv": "path,label,role\ni/1.jpg,a,1", "test.csv": "i/2.jpg,a"},
            "column for the role and lists without",
        ),
        ({"train.csv": "i/1.jpg,a\n./i/1.jpg,a\n"}, "train.csv:2 repeats './i/1.jpg' of"),
        ({"train.csv": "C:\\i\\1.jpg,a\n"}, "which is absolute and not relative to"),
        ({"train.csv": "../data/i/1.jpg,a\n"}, "which is outside"),
        ({"train.csv": "i/9.jpg,a\n"}, "which is missing from"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_an_unclear_list_is_refused_in_one_line(plant_lists, lists, complaint):
    message = refusal(scan, plant_lists(lists))
    assert complaint in message
    assert len(message) <= 400 + len(str(plant_lists({})))


def test_a_source_that_is_no_list_is_refused(plant_lists, tmp_path):
    assert "does not exist" in refusal(scan, tmp_path / "nowhere.csv")
    assert "is not a list" in refusal(scan, plant_lists({}) / "i/1.jpg")
