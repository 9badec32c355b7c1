"""iCartoonFace in the official layout and as PaddleClas's lists: boxes, distractors, pairs, held-out identities."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from shards_tools import __main__ as command
from shards_tools.build import BuildOptions, build
from shards_tools.labels import label_columns, roles_of
from shards_tools.sources.icartoonface import double, scan
from shards_tools.splits import TEST_GALLERY, TEST_QUERY, TRAIN, VAL_GALLERY, VAL_QUERY, cut_identities
from shards_tools.verify import verify
from tests.shards_tools.refusal import bad_pictures, complaint_about, refusal

TRAIN_FOLDER = Path("personai_icartoonface_rectrain/icartoonface_rectrain")
TEST_FOLDER = Path("personai_icartoonface_rectest/icartoonface_rectest")
TRAIN_LIST = TRAIN_FOLDER.parent / "icartoonface_rectrain_det.txt"
TEST_LIST = TEST_FOLDER.parent / "icartoonface_rectest_info.txt"
LABELS = ["0", "0", "0", "1", "1", "-1", "-1", "10"]
PAIRS = [(0, 1), (2, 0), (3, 4)]


def test_file(number: int) -> str:
    return f"personai_icartoonface_rectest_{number:07d}.jpg"


test_file.__test__ = False


@pytest.fixture
def tree(tmp_path, make_picture) -> Path:
    root = tmp_path / "icartoonface"
    rows = []
    for identity in range(10):
        name = f"personai_icartoonface_rectrain_{identity:05d}"
        (root / TRAIN_FOLDER / name).mkdir(parents=True)
        for number in range(1 + identity):
            path = f"{name}/{name}_{number:07d}.jpg"
            (root / TRAIN_FOLDER / path).write_bytes(make_picture(100 * identity + number, "JPEG", (40, 30)))
            rows.append(f"{path}\t10\t8\t20\t17")
    (root / TRAIN_LIST).write_text("\n".join(rows) + "\n")
    (root / TEST_FOLDER).mkdir(parents=True)
    rows = []
    for number, label in enumerate(LABELS):
        (root / TEST_FOLDER / test_file(number)).write_bytes(make_picture(5000 + number, "JPEG", (40, 30)))
        rows.append(f"{test_file(number)}\t0\t0\t30\t20\t{label}")
    rows += [f"{test_file(first)}\t{test_file(second)}" for first, second in PAIRS]
    (root / TEST_LIST).write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture
def lists(tmp_path, make_picture) -> Path:
    """PaddleClas's lists, in which labels of test are also labels of train."""
    root = tmp_path / "paddle"
    rows = {
        "train_list.txt": [(f"train/{label}/{number}.jpg", label) for label in (11, 2) for number in range(3)],
        "query.txt": [("test/a.jpg", 2), ("test/b.png", 3)],
        "gallery.txt": [("test/c.jpg", 2), ("test/d.jpg", 3), ("test/e.jpg", -1)],
    }
    for name, pairs in rows.items():
        for path, _ in pairs:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(make_picture(len(list(root.rglob("*"))), "JPEG"))
        (root / name).write_text("".join(f"{path}\t{label}\n" for path, label in pairs))
    return root


def refused(folder: Path) -> str:
    return refusal(scan, folder)


def append(file: Path, row: str) -> None:
    with open(file, "a") as rows:
        rows.write(f"{row}\n")


def test_train_test_and_distractors_are_told_apart(tree):
    source = scan(tree)
    assert source.layout == "identities"
    train = [f"train_{identity:05d}" for identity in range(10)]
    assert source.works == (*train, "test_0", "test_1", "test_10", "distractor")
    assert roles_of(source) == source.works
    counts = Counter((image.work, image.split_code) for image in source.images)
    expected = {(work, TRAIN): place + 1 for place, work in enumerate(train)}
    expected |= {("test_0", TEST_QUERY): 3, ("test_1", TEST_QUERY): 2, ("test_10", TEST_QUERY): 1}
    assert counts == expected | {("distractor", TEST_GALLERY): 2}
    assert source.images[0].key == "train-00000-personai_icartoonface_rectrain_00000_0000000"
    assert source.left_out == ()


def test_it_builds_and_reads_well(tree, tmp_path, capsys):
    command.main(["build", "icartoonface", str(tree), "--out", str(tmp_path / "shards")])
    said = capsys.readouterr().err
    assert "63 images, 14 identities, 3 test pairs; " in said
    assert "test_query 6, test_gallery 2" in said
    assert "images per identity: min 1, " in said
    manifest = verify(tmp_path / "shards", "deep")
    assert set(zip(manifest.height.tolist(), manifest.width.tolist(), strict=True)) == {(18, 20), (30, 40)}
    assert [[manifest.works[manifest.work[place]] for place in pair] for pair in manifest.pairs] == [
        ["test_0", "test_0"],
        ["test_0", "test_0"],
        ["test_1", "test_1"],
    ]


def test_a_face_of_train_that_is_asked_for_in_test_is_refused(tree, tmp_path):
    source = scan(tree)
    train, test = source.images[3].path, source.images[-3].path
    test.write_bytes(train.read_bytes())
    rows = (tree / TEST_LIST).read_text().replace(f"{test.name}\t0\t0\t30\t20", f"{test.name}\t10\t8\t20\t17")
    (tree / TEST_LIST).write_text(rows)
    (problem,) = bad_pictures(scan(tree), tmp_path / "shards")
    assert (problem.path, problem.kind) == (train, "duplicate")
    assert build(scan(tree), tmp_path / "shards", BuildOptions(allow_duplicates=True)).duplicates.num_on_two_sides == 1


def test_a_face_under_two_identities_of_train_is_counted(tree, tmp_path):
    images = scan(tree).images
    images[5].path.write_bytes(images[0].path.read_bytes())
    duplicates = build(scan(tree), tmp_path / "shards").duplicates
    assert (duplicates.num_under_two_labels, duplicates.num_on_two_sides) == (1, 0)


def test_official_pairs_lead_to_their_images(tree):
    source = scan(tree)
    names = [tuple(source.images[place].path.name for place in pair) for pair in source.pairs]
    assert names == [(test_file(first), test_file(second)) for first, second in PAIRS]


def test_boxes_are_doubled_about_their_center(tree):
    assert scan(tree).images[0].box == (5, 4, 25, 22)
    assert scan(tree).images[-1].box == (-15, -10, 45, 30), "clipped by the build, which knows the picture's size"
    draw = np.random.default_rng(0)
    for left, top, width, height in draw.integers(1, 300, (200, 4)).tolist():
        doubled = double((left, top, left + width, top + height))
        assert (doubled[2] - doubled[0], doubled[3] - doubled[1]) == (2 * width, 2 * height)
        center = np.array([left + width / 2, top + height / 2])
        assert np.abs(np.array([doubled[0] + width, doubled[1] + height]) - center).max() <= 0.5


def test_a_fifth_of_the_identities_is_held_out_for_val(tree):
    source = scan(tree)
    columns = label_columns(source, roles_of(source))
    held_out = set(columns["work"][np.isin(columns["split_code"], (VAL_QUERY, VAL_GALLERY))].tolist())
    assert len(held_out) == 2
    assert not held_out & set(columns["work"][columns["split_code"] == TRAIN].tolist())
    for work in held_out:
        codes = columns["split_code"][columns["work"] == work].tolist()
        assert codes.count(VAL_QUERY) == max(int(0.4 * (work + 1)), 1)
        assert codes.count(VAL_GALLERY) == len(codes) - codes.count(VAL_QUERY) > 0
    assert any(note.startswith("val is a fifth of train's identities") for note in source.notes)


def test_identities_with_one_image_stay_in_train():
    identities = np.repeat(np.arange(200), [1, 2] * 100)
    codes = cut_identities(identities)
    assert (codes[np.isin(identities, np.arange(0, 200, 2))] == TRAIN).all()
    assert ((codes == VAL_QUERY).sum(), (codes == VAL_GALLERY).sum()) == (20, 20)
    np.testing.assert_array_equal(codes, cut_identities(identities))


def test_fields_may_be_parted_by_blanks_and_lists_stand_elsewhere(tree):
    expected = scan(tree)
    (tree / TEST_LIST).rename(tree / TEST_LIST.name)
    (tree / TEST_LIST.name).write_text((tree / TEST_LIST.name).read_text().replace("\t", " "))
    (tree / TRAIN_LIST).rename(tree / TRAIN_FOLDER / TRAIN_LIST.name)
    rows = (tree / TRAIN_FOLDER / TRAIN_LIST.name).read_text().splitlines()
    (tree / TRAIN_FOLDER / TRAIN_LIST.name).write_text("\n".join(f"icartoonface_rectrain/{row}" for row in rows))
    assert scan(tree) == expected


def test_without_the_test_folder_there_is_train_alone(tree):
    (tree / TEST_FOLDER.parent).rename(tree / "later")
    source = scan(tree)
    assert {image.split_code for image in source.images} == {TRAIN}
    assert source.left_out == (tree / "later",)


def test_images_that_the_lists_do_not_name_are_counted(tree, make_picture):
    rows = (tree / TRAIN_LIST).read_text().splitlines()
    (tree / TRAIN_LIST).write_text("\n".join(rows[1:]))
    (tree / TEST_FOLDER / "other.jpg").write_bytes(make_picture(1))
    notes = scan(tree).notes
    assert "1 images were skipped: not in icartoonface_rectest_info.txt" in notes[1]
    assert f"not in icartoonface_rectrain_det.txt, such as {TRAIN_FOLDER}/{rows[0].split()[0]}" in notes[0]


NAME = "personai_icartoonface_rectrain_00003"


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (f"{NAME}/{NAME}_0000000.jpg\t1\t2\t3\t4", f"repeats '{NAME}/{NAME}_0000000.jpg'"),
        (f"{NAME}/{NAME}_0000009.jpg\t1\t2\t3\t4", "_0000009.jpg', which is missing from"),
        (f"{NAME}/../{NAME}/x.png\t1\t2\t3\t4", "x.png', which is missing from"),
        ("../etc/passwd\t1\t2\t3\t4", "is not an image: its suffix must be"),
        (f"{NAME}/x.jpg\t1\t2\t3", "is not a path and the four numbers of a box"),
        (f"{NAME}/x.jpg\t1\t2\t3\tnan", "is not a path and the four numbers of a box"),
        (f"{NAME}/x.jpg\t1\t2\t3\tinf", "is not a path and the four numbers of a box"),
        (f"{NAME}/x.jpg\t5\t2\t3\t4", "has an empty box: 5 2 3 4"),
    ],
)
def test_a_bad_row_of_train_is_named_with_file_and_line(tree, row, complaint):
    append(tree / TRAIN_LIST, row)
    message = complaint_about(scan, tree)
    assert f"{tree / TRAIN_LIST}:56 " in message
    assert complaint in message


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (f"{test_file(0)}\t0\t0\t9\t9\t1", "Remove one of the two lines"),
        (f"{test_file(9)}\t0\t0\t9\t9\t1", "which is missing from"),
        (f"{test_file(9)}\t0\t0\t9\t9", "is not a path and the four numbers of a box"),
        (f"{test_file(0)}\t{test_file(3)}", "pairs images of two identities, test_0 and test_1"),
        (f"{test_file(0)}\t{test_file(5)}", f"pairs '{test_file(5)}', which has no label in any line"),
        (f"{test_file(0)}\t{test_file(9)}", f"pairs '{test_file(9)}', which has no label in any line"),
    ],
)
def test_a_bad_row_of_test_is_named_with_file_and_line(tree, row, complaint):
    append(tree / TEST_LIST, row)
    message = complaint_about(scan, tree)
    assert f"{tree / TEST_LIST}:12 " in message
    assert complaint in message


def test_a_label_that_is_no_number_is_named(tree):
    (tree / TEST_LIST).write_text(f"{test_file(0)}\t0\t0\t9\t9\t-2\n")
    assert "has the label '-2', which is not an integer" in refused(tree)


def test_a_folder_that_is_no_identity_is_named(tree):
    (tree / TRAIN_FOLDER / NAME).rename(tree / TRAIN_FOLDER / "somebody")
    text = (tree / TRAIN_LIST).read_text().replace(f"{NAME}/", "somebody/")
    (tree / TRAIN_LIST).write_text(text)
    assert "whose folder is not personai_icartoonface_rectrain_NUMBER" in refused(tree)


@pytest.mark.parametrize("part", [TRAIN_LIST, TEST_LIST, TEST_FOLDER, TRAIN_FOLDER])
def test_a_missing_part_is_named(tree, part):
    (tree / part).rename(tree / "elsewhere")
    assert str(part) in refused(tree)


def test_lists_of_paddle_are_read_as_they_are(lists):
    source = scan(lists)
    assert source.works == ("train_2", "train_11", "test_2", "test_3", "distractor")
    assert source.layout == "identities"
    assert Counter((image.work, image.split_code) for image in source.images) == {
        ("train_2", TRAIN): 3,
        ("train_11", TRAIN): 3,
        ("test_2", TEST_QUERY): 1,
        ("test_3", TEST_QUERY): 1,
        ("test_2", TEST_GALLERY): 1,
        ("test_3", TEST_GALLERY): 1,
        ("distractor", TEST_GALLERY): 1,
    }
    assert all(image.box is None for image in source.images)
    assert (source.pairs, source.left_out) == ((), ())
    (lists / "query.txt").unlink()
    assert "query.txt is missing: query and gallery belong together" in refused(lists)
    (lists / "gallery.txt").unlink()
    assert len(scan(lists).images) == 6
    assert scan(lists).notes[0] == "5 images were skipped: not in any list, such as test/a.jpg"


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("test/f.jpg\t2", "query.txt:3 names 'test/f.jpg', which is missing"),
        ("test/a.jpg 2", "query.txt:3 has 1 cells instead of 2"),
        ("train/2/0.jpg\t2", "query.txt:3 repeats 'train/2/0.jpg' of"),
        ("../x.jpg\t2", "query.txt:3 names '../x.jpg', which is outside"),
        ("test/a.jpg\t2", "query.txt:3 repeats 'test/a.jpg' of"),
    ],
)
def test_a_bad_row_of_paddles_lists_is_named(lists, row, complaint):
    append(lists / "query.txt", row)
    assert complaint in complaint_about(scan, lists)


def test_a_folder_that_is_neither_is_refused(tmp_path):
    assert "train_list.txt" in refused(tmp_path)
    assert "is not a folder" in refused(tmp_path / "nowhere")
    (tmp_path / "train_list.txt").write_text("")
    assert "has no images" in refused(tmp_path)
