"""The batch sampler `full`, for any labels: every image, distinct works, equal for equal seeds, complete in pieces."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards_tools.batch_samplers.epochs import EpochParams
from shards_tools.batch_samplers.full import full_batches
from shards_tools.errors import Error

counts_of_works = st.lists(st.integers(1, 40), min_size=3, max_size=12)
batch_shapes = st.tuples(st.integers(1, 3), st.integers(1, 6))
numbers = st.integers(0, 2**31)


def labels_with(counts: list[int], seed: int) -> np.ndarray:
    """Shuffled labels, not starting at 0 and with gaps."""
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)) * 3 + 5, counts))


def make(labels: np.ndarray, shape: tuple[int, int], **changes: int) -> np.ndarray:
    settings = {"works_per_batch": shape[0], "images_per_work": shape[1], "seed": 0, "epoch": 0, **changes}
    return full_batches(labels, None, EpochParams(**settings))


@settings(deadline=None)
@given(counts_of_works, batch_shapes, numbers, numbers)
def test_a_pass_is_every_image_in_batches_of_distinct_works(counts, shape, seed, epoch):
    works_per_batch, images_per_work = shape
    labels = labels_with(counts, 0)
    indices = make(labels, shape, seed=seed, epoch=epoch)
    assert indices.dtype == np.int64
    assert set(indices.ravel().tolist()) == set(range(len(labels)))
    works = labels[indices].reshape(len(indices), works_per_batch, images_per_work)
    assert (works == works[:, :, :1]).all(), "K images of one work stand side by side"
    for batch in works[:, :, 0]:
        assert len(set(batch.tolist())) == works_per_batch
    groups = [math.ceil(count / images_per_work) for count in counts]
    assert len(indices) == max(math.ceil(sum(groups) / works_per_batch), *groups), "no longer than it must be"


@settings(deadline=None)
@given(counts_of_works, batch_shapes, numbers)
def test_images_repeat_inside_a_group_only_where_a_work_has_too_few(counts, shape, seed):
    images_per_work = shape[1]
    labels = labels_with(counts, 0)
    indices = make(labels, shape, seed=seed, epoch=0)
    for group in indices.reshape(-1, images_per_work):
        size = counts[(labels[group[0]] - 5) // 3]
        uses = np.unique(group, return_counts=True)[1]
        assert len(uses) == min(size, images_per_work)
        assert uses.max() - uses.min() <= 1


@settings(deadline=None)
@given(counts_of_works, batch_shapes, numbers, st.integers(0, 5), st.integers(18, 300))
def test_the_pieces_of_a_pass_together_are_the_pass(counts, shape, seed, number, images_per_epoch):
    labels = labels_with(counts, 0)
    whole = make(labels, shape, seed=seed, epoch=number)
    pieces = math.ceil(len(whole) / (images_per_epoch // math.prod(shape)))
    cut = [
        make(labels, shape, seed=seed, epoch=number * pieces + piece, images_per_epoch=images_per_epoch)
        for piece in range(pieces)
    ]
    np.testing.assert_array_equal(np.concatenate(cut), whole)
    assert max(piece.size for piece in cut) <= images_per_epoch
    assert max(map(len, cut)) - min(map(len, cut)) <= 1


def test_equal_seeds_give_equal_plans_and_others_do_not():
    labels = labels_with([20] * 10, 0)
    of_runs = [make(labels, (4, 4), seed=seed, epoch=epoch) for seed, epoch in [(1, 2), (1, 2), (1, 3), (2, 2)]]
    np.testing.assert_array_equal(of_runs[0], of_runs[1])
    assert not (of_runs[0] == of_runs[2]).all()
    assert not (of_runs[0] == of_runs[3]).all()


def test_the_plan_does_not_touch_the_global_random_state():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    make(labels_with([20] * 10, 0), (4, 4))
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_repeats_are_few_where_works_are_many():
    labels = labels_with([11] * 190, 0)
    indices = make(labels, (16, 4))
    assert indices.size <= 190 * 12 + 16 * 4


def test_a_giant_work_comes_whole_and_starves_nobody():
    labels = labels_with([1000] + [4] * 7, 0)
    indices = make(labels, (4, 4))
    assert len(indices) == 250
    uses = np.bincount(indices.ravel(), minlength=len(labels))
    assert (uses[labels == 5] == 1).all()
    small = uses[labels != 5]
    assert small.min() >= 250 * 3 // 7
    assert small.max() <= 250 * 3 // 7 + 1


def test_works_are_spread_over_the_pass_and_meet_by_chance():
    labels = labels_with([40] * 30, 0)
    indices = make(labels, (6, 4))  # 50 batches, each work in 10 of them
    works = (labels[indices].reshape(50, 6, 4)[:, :, 0] - 5) // 3
    first_half = np.bincount(works[:25].ravel(), minlength=30)
    assert set(first_half.tolist()) <= {4, 5, 6}
    met = np.zeros((30, 30), dtype=int)
    for batch in works:
        met[np.ix_(batch, batch)] += 1
    assert (met > 0).sum(axis=1).min() > 20, "a work meets most others in one pass"


@pytest.mark.parametrize(
    ("labels", "shape", "settings", "complaint"),
    [
        ([0, 0, 1, 1], (3, 2), {}, "works_per_batch=3 is more than the 2 works in train. Set works_per_batch to 2"),
        ([], (1, 1), {}, "0 images"),
        ([0, 1], (0, 4), {}, "0 works x 4"),
        ([0, 1], (2, 4), {"images_per_epoch": 7}, "images_per_epoch=7 is less than one batch of 8"),
    ],
)
def test_impossible_batches_are_refused(labels, shape, settings, complaint):
    with pytest.raises(Error, match=complaint):
        make(np.array(labels, dtype=int), shape, **settings)
