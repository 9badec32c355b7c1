"""Keys are stored as bytes and returned as text, one or many at a time."""

import numpy as np
import pytest

from shards_tools import keys as keys_module
from shards_tools.keys import Keys

NAMES = ["b", "a/0", "long-name+jpg"]


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Keys:
    monkeypatch.setattr(keys_module, "DECODED_AT_ONCE", 2)
    return Keys.of(NAMES)


@pytest.mark.parametrize("index", [1, np.int32(1), -2])
def test_one_index_gives_the_text_of_one_key(keys: Keys, index: int) -> None:
    assert keys[index] == "a/0"
    assert type(keys[index]) is str


@pytest.mark.parametrize("indices", [slice(1, 3), np.array([1, 2]), np.array([False, True, True])])
def test_several_indices_give_an_array_of_text(keys: Keys, indices: slice | np.ndarray) -> None:
    assert keys[indices].tolist() == NAMES[1:]
    assert keys[indices].dtype.kind == "U"


def test_keys_have_a_length_and_are_iterated_in_order(keys: Keys) -> None:
    assert len(keys) == 3
    assert list(keys) == keys.tolist() == NAMES
    assert all(type(key) is str for key in keys)


def test_an_index_that_no_key_has_is_refused(keys: Keys) -> None:
    with pytest.raises(IndexError):
        keys[3]


def test_a_key_takes_one_byte_per_character_of_the_longest(keys: Keys) -> None:
    assert keys.stored.nbytes == 3 * len("long-name+jpg")


@pytest.mark.parametrize("stored", [np.array(NAMES), np.arange(3), np.array([[b"a"]]), np.array([b"a"], object)])
def test_keys_of_other_types_or_shapes_are_refused(stored: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"the keys have type .* and . axes"):
        Keys(stored)
