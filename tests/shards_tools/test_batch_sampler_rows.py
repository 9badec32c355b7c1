"""Orders and rows that samplers are made of, against numpy's sort and their definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards_tools.batch_samplers.members import Partition, numbered, stable_argsort
from shards_tools.batch_samplers.rows import draw_rows

numbers = st.integers(0, 2**31)


@pytest.mark.parametrize("bound", [1, 7, 2**16, 2**16 + 1, 2**40])
@pytest.mark.parametrize("kind", [np.int64, np.uint64])
def test_numbers_of_any_size_are_sorted_as_numpy_sorts_them(bound, kind):
    values = np.random.default_rng(0).integers(0, bound, 10_000).astype(kind)
    values = np.concatenate([values, values])  # every number at least twice
    np.testing.assert_array_equal(stable_argsort(values), np.argsort(values, kind="stable"))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), min_size=1, max_size=60))
def test_a_partition_divided_by_a_second_label_has_a_group_for_each_pair(pairs):
    first, second = np.array(pairs).T
    divided = Partition.of(first).divided(second)
    known, group, sizes = np.unique(np.array(pairs), axis=0, return_inverse=True, return_counts=True)
    np.testing.assert_array_equal(divided.group, group.ravel())
    np.testing.assert_array_equal(divided.sizes, sizes)
    assert len(known) == len(divided.sizes)


@pytest.mark.parametrize("num_groups", [3, 70_000])
def test_shuffled_groups_keep_their_images_and_copies_have_orders_of_their_own(num_groups):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(num_groups), 5))
    generator = np.random.default_rng(1)
    copies = np.where(np.arange(num_groups) % 2, 2, 0)
    members = Partition.of(labels).shuffled(generator).with_copies(copies, generator)
    groups = members.images.reshape(-1, 5)
    expected = np.concatenate([np.arange(num_groups), np.repeat(np.arange(num_groups), copies)])
    np.testing.assert_array_equal(labels[groups], np.tile(expected[:, None], 5))
    np.testing.assert_array_equal(np.sort(groups[:num_groups].ravel()), np.arange(len(labels)))
    if num_groups > 3:
        same = (groups[num_groups::2] == groups[num_groups + 1 :: 2]).all(axis=1)
        assert same.mean() == pytest.approx(1 / 120, abs=0.005)  # of 5! orders


@pytest.mark.parametrize("width", [1, 2, 5])
@settings(deadline=None, max_examples=60)
@given(parts=st.lists(st.tuples(st.integers(1, 12), numbers), min_size=1, max_size=4), seed=numbers)
def test_rows_have_distinct_items_of_one_part_as_often_as_they_should(width, parts, seed):
    counts, part_of_item = [], []
    for number, (num_rows, part_seed) in enumerate(parts):
        own = counts_that_fill(num_rows, width, np.random.default_rng(part_seed))
        counts += own
        part_of_item += [number] * len(own)
    rows = draw_rows(np.array(counts), width, np.random.default_rng(seed), np.array(part_of_item))
    assert (np.diff(rows, axis=1) > 0).all()
    np.testing.assert_array_equal(np.bincount(rows.ravel(), minlength=len(counts)), counts)
    part_of_row = np.repeat(np.arange(len(parts)), [num_rows for num_rows, _ in parts])
    np.testing.assert_array_equal(np.array(part_of_item)[rows], np.tile(part_of_row[:, None], width))


def counts_that_fill(num_rows: int, width: int, generator: np.random.Generator) -> list[int]:
    """Return random counts, none above `num_rows`, with the sum num_rows * width; often so full that few rows fit."""
    left, counts = num_rows * width, []
    while left:
        counts.append(int(min(left, generator.integers(1, num_rows + 1) if generator.random() < 0.5 else num_rows)))
        left -= counts[-1]
    return counts


def test_an_item_is_spread_over_its_rows():
    """Of an item with 100 occurrences in 1,000 rows, each tenth of the rows has about ten; by chance it would not."""
    rows = draw_rows(np.full(80, 100), 8, np.random.default_rng(0))
    tenths = np.stack([np.bincount(tenth.ravel(), minlength=80) for tenth in np.split(rows, 10)])
    assert tenths.min() >= 7
    assert tenths.max() <= 13
    assert tenths.var() < 1.5  # 9 by chance


def test_numbers_start_again_for_each_count():
    np.testing.assert_array_equal(numbered(np.array([2, 0, 3])), [0, 1, 0, 1, 2])
