"""Layouts, spellings and encodings that people bring, and what each of them is read as or refused for."""

import os
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shards_tools import __main__ as command
from shards_tools.errors import Error
from shards_tools.manifest_file import read_manifest

NFC, NFD = (unicodedata.normalize(form, "がぎぐ") for form in ("NFC", "NFD"))
JAPANESE = os.fsdecode("レム".encode("cp932"))
KOREAN = os.fsdecode("렘".encode("euc-kr"))
LATIN = os.fsdecode("Zoé".encode("latin-1"))
Splits = Mapping[str, str]  # split -> its works, separated by blanks


@dataclass(frozen=True)
class Case:
    """Folders with three images each, or lists and their images, and what becomes of them."""

    outcome: Splits | str  # the splits, or a part of the message
    folders: str = ""  # separated by blanks
    kind: str = "folder"
    lists: Mapping[str, str] = field(default_factory=dict)
    images: tuple[str, ...] = ()


def classes(parts: str) -> str:
    """Return the folders of two classes in each part."""
    return " ".join(f"{part}/{name}" for part in parts.split() for name in ("rem", "ram"))


def works(parts: str) -> str:
    """Return the folders of a work with two roles in each part."""
    return " ".join(f"{part}/re0/{role}" for part in parts.split() for role in ("rem", "ram"))


CLASSES = {"train": "ram rem", "val": "ram rem", "test": "ram rem"}
RANKED = {"train": "re0", "test_query": "re0", "test_gallery": "re0"}
PATHS = ("data/a/1.jpg", "data/a/2.jpg", "data/a/3.jpg")


def moeimouto(train: str, test: str = "0,a/3.jpg", images: tuple[str, ...] = PATHS) -> Case:
    """Return the case of moeimouto's lists with these rows of train, read as two images of train and one of test."""
    lists = {"train.csv": train, "test.csv": test, "classid_classname.csv": "0,0"}
    return Case({"train": "0", "val": "0", "test": "0"}, kind="moeimouto", lists=lists, images=images)


def refused(case: Case, message: str) -> Case:
    """Return the case with a refusal as its outcome."""
    return Case(message, kind=case.kind, lists=case.lists, images=case.images)


CASES = {
    "capitals": Case(CLASSES, classes("Train Val Test")),
    "all capitals": Case(CLASSES, classes("TRAIN VAL TEST")),
    "timm": Case(CLASSES, classes("train validation test")),
    "Hugging Face": Case(CLASSES, classes("training valid testing")),
    "Hugging Face, other words": Case(CLASSES, classes("train dev eval")),
    "with set": Case(CLASSES, classes("trainset val-set test_set")),
    "with images": Case(CLASSES, classes("train_images images_val test-images")),
    "full width": Case(CLASSES, classes("\N{FULLWIDTH LATIN SMALL LETTER T}rain val test")),
    "classes without splits": Case(CLASSES, "rem ram"),
    "only test": Case({"test": "ram rem"}, classes("test")),
    "only testing": Case({"test": "ram rem"}, classes("Testing")),
    "val and test": Case({"val": "ram rem", "test": "ram rem"}, classes("valid test")),
    "works with gallery": Case(RANKED, works("train query gallery")),
    "works with test": Case(RANKED, works("train query test")),
    "works of bounding boxes": Case(RANKED, works("bounding_box_train query bounding_box_test")),
    "works of images": Case(RANKED, works("image_train image_query image_test")),
    "only query and gallery": Case({"test_query": "re0", "test_gallery": "re0"}, works("Query Gallery")),
    "two spellings": Case("both mean val", classes("train val validation")),
    "case of two spellings": Case("both mean train", classes("train Train")),
    "split next to classes": Case("is next to train, but is not train, val, test, query or gallery", "train/a rem"),
    "test next to classes": Case("is next to Test, but is not train, val, test, query or gallery", "Test rem ram"),
    "splits a folder down": Case("is named like a split, but is not directly in", classes("data/train data/test")),
    "splits a folder down, flat": Case("is named like a split, but is not directly in", "data/training data/testing"),
    "splits below classes": Case("is named like a split, but is not directly in", "rem/train rem/test ram/train"),
    "splits as roles": Case("is named like a split, but is not directly in", "train/re0/rem train/re0/val"),
    "query of classes": Case("is only for WORK/ROLE/IMAGE", classes("train query gallery")),
    "val of works": Case("val of works is taken from train", works("train validation")),
    "query alone": Case("needs a folder gallery next to it", works("train query")),
    "gallery alone": Case("needs a folder query next to it", works("train gallery")),
    "two galleries": Case("are both a gallery of query", works("query gallery test")),
    "Market in folder": Case(
        "Use market1501 or veri776", images=("bounding_box_train/0002_c1s1_1_0.jpg", "query/0001_c1s1_2_0.jpg")
    ),
    "VeRi in folder": Case("Use market1501 or veri776", images=("image_train/0001_c001_00016450_0.jpg",)),
    "lsasrd with Query": Case(
        "named like a split, but the source reads only train, query, test",
        kind="lsasrd",
        images=("train/a/1/a_1_1.jpg", "Query/a/1/a_1_1.jpg"),
    ),
    "Market in capitals": Case(
        "Query is named like a split, but the source reads only bounding_box_train, query, bounding_box_test",
        kind="market1501",
        images=("bounding_box_train/0002_c1s1_1_0.jpg", "Query/0001_c1s1_2_0.jpg"),
    ),
    "Paddle with gallery_list": Case(
        "gallery_list.txt is named like a split, but the source reads only train_list.txt, query.txt, gallery.txt",
        kind="icartoonface",
        lists={"train_list.txt": "1.jpg\t0", "gallery_list.txt": "2.jpg\t0"},
        images=("1.jpg", "2.jpg"),
    ),
    "moeimouto with valid.csv": Case(
        "valid.csv is named like a split, but the source reads only train.csv, val.csv, test.csv",
        kind="moeimouto",
        lists={"train.csv": "0,a/1.jpg", "valid.csv": "", "test.csv": "", "classid_classname.csv": "0,0"},
        images=PATHS,
    ),
    "decomposed name": Case({"train": NFC, "val": NFC}, f"train/{NFC} val/{NFD}"),
    "two forms of a name": Case("differ only in their Unicode forms", f"{NFC} {NFD}"),
    "two forms of a work": Case("differ only in their Unicode forms", f"{NFC}/a {NFD}/b"),
    "Shift-JIS class": Case("(in Shift-JIS it is レム)", f"train/{JAPANESE} train/a"),
    "Shift-JIS at the top": Case("(in Shift-JIS it is レム)", f"{JAPANESE} a"),
    "Shift-JIS work": Case("(in Shift-JIS it is レム)", kind="lsasrd", images=(f"train/{JAPANESE}/1/a_1_1.jpg",)),
    "EUC-KR class": Case("train has an entry with the name", f"train/{KOREAN} train/a"),
    "Latin-1 class": Case(r"has an entry with the name Zo\xe9", f"{LATIN} a"),
    "Shift-JIS image": Case("rem has an entry with the name", "rem ram", images=(f"rem/{JAPANESE}.jpg",)),
    "Shift-JIS camera": Case(
        "bounding_box_train has an entry", kind="market1501", images=(f"bounding_box_train/0001_c1_{JAPANESE}.jpg",)
    ),
    "paths of find": moeimouto("0,./a/1.jpg\n0,./a/2.jpg"),
    "paths of Windows": moeimouto("0,a\\1.jpg\n0,.\\a\\2.jpg"),
    "two slashes": moeimouto("0,a//1.jpg\n0,a/./2.jpg"),
    "blank before a path": moeimouto("0, a/1.jpg\n0,a/2.jpg "),
    "list in NFC, files in NFD": moeimouto(f"0,{NFC}/1.jpg\n0,a/2.jpg", images=(f"data/{NFD}/1.jpg", *PATHS[1:])),
    "list in NFD, files in NFC": moeimouto(f"0,{NFD}/1.jpg\n0,a/2.jpg", images=(f"data/{NFC}/1.jpg", *PATHS[1:])),
    "one image in two spellings": refused(moeimouto("0,a/1.jpg\n0,a\\1.jpg"), r"train.csv:2 repeats 'a\\1.jpg' of"),
    "one image in two lists": refused(moeimouto("0,a/1.jpg", test="0,./a/1.jpg"), "test.csv:1 repeats './a/1.jpg' of"),
    "unlisted image in Shift-JIS": moeimouto("0,a/1.jpg\n0,a/2.jpg", images=(*PATHS, f"data/{JAPANESE}.jpg")),
    "Windows drive": refused(moeimouto("0,C:\\data\\a\\1.jpg"), "which is absolute"),
    "absolute path": refused(moeimouto("0,/data/a/1.jpg"), "which is absolute"),
    "parent folder": refused(moeimouto("0,..\\data\\a\\1.jpg"), "which is outside"),
}


def plant(root: Path, case: Case, make_picture: Callable[..., bytes]) -> None:
    folders = [f"{folder}/{number}.jpg" for folder in case.folders.split() for number in range(3)]
    for seed, name in enumerate([*folders, *case.images]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(make_picture(seed, "JPEG"))
    for name, text in case.lists.items():
        (root / name).write_text(text, encoding="utf-8")


def works_of_splits(shards: Path) -> Splits:
    manifest = read_manifest(shards)
    assert all(note.encode() for note in manifest.notes)
    of_split = {name: sorted(set(manifest.work[images])) for name, images in vars(manifest.split()).items()}
    return {name: " ".join(manifest.works[work] for work in found) for name, found in of_split.items() if found}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_it_is_read_as_people_mean_it_or_refused_in_one_line(case, tmp_path, make_picture, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the middle of a reason with a long path is left out
    root, shards = Path("data"), Path("shards")
    plant(root, case, make_picture)
    arguments = ["build", case.kind, str(root), "--out", str(shards)]
    if not isinstance(case.outcome, str):
        command.main(arguments)
        assert works_of_splits(shards) == case.outcome
        return
    with pytest.raises(Error) as mistake:
        command.main(arguments)
    message = str(mistake.value)
    message.encode()  # a terminal can print it
    assert case.outcome in message
    assert "\n" not in message
    assert len(message.replace(str(root), "")) <= 400
    assert not shards.exists()
