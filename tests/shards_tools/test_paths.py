"""Keys from any text, and listing the images of a folder."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards_tools.errors import Error
from shards_tools.sources.paths import distinct_keys, key_of, links_followed, list_images
from shards_tools.sources.source import SourceImage
from shards_tools.splits import TRAIN
from shards_tools.writer import MAX_KEY_LENGTH

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=12)
PARTS = st.lists(NAMES, min_size=3, max_size=3)


@given(PARTS, PARTS)
def test_different_parts_give_different_keys(first, second):
    assert (key_of(first) == key_of(second)) == (first == second)


@given(st.text(st.sampled_from("-%2D.a"), min_size=4), st.integers(1, 20), st.integers(1, 20))
def test_a_name_that_is_cut_elsewhere_gives_another_key(text, first, second):
    parts = [[text[:place], text[place:].removeprefix("-")] for place in (first, second)]
    assert (key_of(parts[0]) == key_of(parts[1])) == (parts[0] == parts[1])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["a-b", "c"], ["a", "b-c"]),
        (["a", "b%2D"], ["a", "b-"]),
        (["x" * 200, "1"], ["x" * 200, "2"]),
        (["東" * 50, "1"], ["東" * 49 + "方", "1"]),
    ],
)
def test_names_that_look_alike_give_two_keys(first, second):
    assert key_of(first) != key_of(second)


@given(st.lists(NAMES, min_size=1, max_size=20))
def test_a_key_fits_into_a_tar_header(parts):
    key = key_of(parts)
    assert key.isascii()
    assert len(key) <= MAX_KEY_LENGTH
    assert not set("./\\ \n") & set(key)


def test_a_name_that_is_no_text_is_named():
    with pytest.raises(Error, match="is not valid UTF-8"):
        key_of([os.fsdecode(b"\xff\xfe")])


def test_a_listing_is_that_of_a_plain_walk(tmp_path):
    for name in ("a/1.jpg", "a/b/2.PNG", "3.jpeg", "a/4.txt", ".5.jpg", ".git/6.jpg", "a/7.jpg/8.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a/link.jpg").symlink_to("1.jpg")
    (tmp_path / "a/loop.jpg").symlink_to("loop.jpg")
    expected = {"a/1.jpg", "a/b/2.PNG", "3.jpeg", "a/7.jpg/8.jpg", "a/link.jpg"}
    assert list_images(tmp_path, tmp_path) == expected


@pytest.mark.parametrize(("target", "complaint"), [("a", "not followed"), ("/etc", "out of"), ("..", "out of")])
def test_a_linked_folder_is_named_and_not_walked(tmp_path, target, complaint):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to(Path(target))
    with pytest.raises(Error, match=f"{tmp_path / 'b'} is a link.*{complaint}"):
        list_images(tmp_path, tmp_path)


def test_linked_folders_are_walked_if_links_are_followed(tmp_path):
    for name in ("tree/a/1.jpg", "outside/2.jpg", "outside/b/3.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "tree/link").symlink_to(tmp_path / "outside")
    (tmp_path / "tree/again").symlink_to("link")
    with links_followed(True):
        assert list_images(tmp_path / "tree", tmp_path / "tree") == {
            "a/1.jpg",
            *(f"{link}/{name}" for link in ("link", "again") for name in ("2.jpg", "b/3.jpg")),
        }


@pytest.mark.parametrize("links", [{"a/up": ".."}, {"a/self": "."}, {"a/x": "../b", "b/y": "../a"}], ids=str)
def test_links_that_lead_in_a_circle_are_named(tmp_path, links):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    with links_followed(True), pytest.raises(Error, match="leads back to a folder above it"):
        list_images(tmp_path, tmp_path)


@given(st.lists(st.tuples(NAMES, st.sampled_from(["jpg", "png", "jpg.png", "JPG"])), max_size=8, unique=True))
def test_images_of_one_folder_get_distinct_keys(files):
    names = [f"{stem}.{suffix}" for stem, suffix in files]
    images = [SourceImage(Path(name), key_of(["a", name.rpartition(".")[0]]), "a", "a", TRAIN) for name in set(names)]
    keys = [image.key for image in distinct_keys(images)]
    assert len(set(keys)) == len(keys)
    assert all(len(key) <= MAX_KEY_LENGTH and "." not in key for key in keys)
