"""Properties of every batch sampler, and papers, shuffle and balanced against their definitions."""

import math
import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards_tools.batch_samplers import BATCH_SAMPLERS
from shards_tools.batch_samplers.epochs import EpochParams
from shards_tools.errors import Error

counts_of_works = st.lists(st.integers(1, 40), min_size=3, max_size=12)
batch_shapes = st.tuples(st.integers(1, 3), st.integers(1, 6))
numbers = st.integers(0, 2**31)
every_sampler = pytest.mark.parametrize("name", BATCH_SAMPLERS)


def labels_with(counts: list[int]) -> np.ndarray:
    """Shuffled labels, not starting at 0 and with gaps."""
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)) * 3 + 5, counts))


def roles_of(labels: np.ndarray) -> np.ndarray:
    """Roles 0 to 4 of unequal sizes; the works share these numbers."""
    return np.random.default_rng(1).choice(5, len(labels), p=[0.4, 0.3, 0.15, 0.1, 0.05])


def make(name: str, labels: np.ndarray, shape: tuple[int, int], **changes: int) -> np.ndarray:
    settings = {"works_per_batch": shape[0], "images_per_work": shape[1], "seed": 0, "epoch": 0, **changes}
    return BATCH_SAMPLERS[name](labels, roles_of(labels), EpochParams(**settings))


@every_sampler
def test_equal_seeds_give_equal_plans_and_others_do_not(name):
    labels = labels_with([20] * 10)
    indices = make(name, labels, (4, 4), seed=1, epoch=2)
    assert indices.dtype == np.int64
    assert indices.shape[1] == 16
    np.testing.assert_array_equal(indices, make(name, labels, (4, 4), seed=1, epoch=2))
    for other in ({"seed": 1, "epoch": 3}, {"seed": 2, "epoch": 2}):
        assert not np.array_equal(indices, make(name, labels, (4, 4), **other))


@every_sampler
def test_a_plan_does_not_touch_the_global_random_state(name):
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    make(name, labels_with([20] * 10), (4, 4))
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@every_sampler
@settings(deadline=None, max_examples=40)
@given(counts=st.lists(st.integers(6, 40), min_size=3, max_size=9), number=st.integers(0, 5), limit=st.integers(12, 99))
def test_the_pieces_of_a_pass_together_are_the_pass(name, counts, number, limit):
    labels, shape = labels_with(counts), (3, 4)
    whole = make(name, labels, shape, epoch=number)
    pieces = pieces_per_pass(name, labels, shape, limit)
    cut = [make(name, labels, shape, epoch=number * pieces + n, images_per_epoch=limit) for n in range(pieces)]
    assert max(piece.size for piece in cut) <= limit
    assert max(map(len, cut)) - min(map(len, cut)) <= 1
    joined = np.concatenate(cut)
    np.testing.assert_array_equal(joined[: len(whole)], whole)
    assert len(joined) == max(len(whole), pieces), "more than the pass only if there are more pieces than batches"


def pieces_per_pass(name: str, labels: np.ndarray, shape: tuple[int, int], limit: int) -> int:
    """Return the pieces of the longest pass; only in `papers` is the length random."""
    longest = len(make(name, labels, shape))
    if name == "papers":
        groups = [max(count // shape[1], 1) for count in Counter(labels.tolist()).values()]
        fits = [n for n in range(1, 200) if sum(min(group, n) for group in groups) >= n * shape[0]]
        longest = max(fits)
    return math.ceil(longest / (limit // math.prod(shape)))


def test_a_pass_of_fewer_batches_than_pieces_has_no_empty_piece():
    labels, shape = labels_with([24, 24, 4, 4, 4, 4, 4, 4]), (3, 4)
    lengths = {len(make("papers", labels, shape, epoch=number)) for number in range(30)}
    pieces = max(lengths)
    assert len(lengths) > 1, "the draws decide how long a pass is"
    for epoch in range(30 * pieces):
        assert len(make("papers", labels, shape, epoch=epoch, images_per_epoch=12)) == 1


@settings(deadline=None)
@given(counts_of_works, batch_shapes, numbers)
def test_papers_takes_whole_groups_until_too_few_works_have_any(counts, shape, seed):
    works_per_batch, images_per_work = shape
    labels = labels_with(counts)
    left = {3 * work + 5: max(count // images_per_work, 1) for work, count in enumerate(counts)}
    used = set()
    for batch in make("papers", labels, shape, seed=seed):
        works = labels[batch].reshape(works_per_batch, images_per_work)
        assert (works == works[:, :1]).all()
        assert len(set(works[:, 0].tolist())) == works_per_batch
        for group in batch.reshape(works_per_batch, images_per_work).tolist():
            work = labels[group[0]]
            left[work] -= 1
            assert left[work] >= 0
            if counts[(work - 5) // 3] >= images_per_work:
                assert len(used | set(group)) == len(used) + images_per_work, "no image twice in a pass"
            used |= set(group)
    assert sum(groups > 0 for groups in left.values()) < works_per_batch


def test_papers_draws_small_works_with_replacement_and_others_without():
    labels = labels_with([3, 9, 9])
    groups = np.concatenate([make("papers", labels, (3, 4), epoch=epoch) for epoch in range(200)]).reshape(-1, 4)
    distinct = np.array([len(set(group.tolist())) for group in groups])
    small = labels[groups[:, 0]] == 5
    assert set(distinct[~small].tolist()) == {4}
    assert distinct[small].mean() == pytest.approx(3 * (1 - (2 / 3) ** 4), abs=0.2)  # images seen in 4 draws of 3


def test_papers_leaves_images_out_and_comes_to_them_in_other_passes():
    labels = labels_with([11] * 20)
    seen = [set(make("papers", labels, (4, 4), epoch=epoch).ravel().tolist()) for epoch in range(30)]
    assert all(len(images) <= 20 * 8 for images in seen), "8 of 11 are whole groups"
    assert set.union(*seen) == set(range(len(labels)))


@settings(deadline=None)
@given(counts_of_works, batch_shapes, numbers)
def test_shuffle_holds_each_image_once_but_for_the_last_incomplete_batch(counts, shape, seed):
    labels, size = labels_with(counts), math.prod(shape)
    if len(labels) < size:
        with pytest.raises(Error, match="do not fill one batch"):
            make("shuffle", labels, shape, seed=seed)
        return
    indices = make("shuffle", labels, shape, seed=seed)
    assert len(set(indices.ravel().tolist())) == indices.size == len(labels) // size * size


def test_shuffle_mixes_works_as_chance_does():
    labels = labels_with([100] * 8)
    batches = np.concatenate([make("shuffle", labels, (4, 4), epoch=epoch) for epoch in range(10)])
    same = [(labels[batch][:, None] == labels[batch]).sum() - 16 for batch in batches]
    assert np.mean(same) / (16 * 15) == pytest.approx(99 / 799, abs=0.01)


@settings(deadline=None)
@given(counts_of_works, batch_shapes, numbers)
def test_balanced_takes_works_in_rounds_and_the_images_of_each_in_turn(counts, shape, seed):
    labels = labels_with(counts)
    indices = make("balanced", labels, shape, seed=seed)
    assert len(indices) == math.ceil(len(labels) / math.prod(shape))
    order = indices.ravel()
    for start in range(0, len(order), len(counts)):
        drawn = labels[order[start : start + len(counts)]].tolist()
        assert len(set(drawn)) == len(drawn), "each work once in a round"
    for work, count in enumerate(counts):
        mine = order[labels[order] == 3 * work + 5]
        assert len(set(mine[:count].tolist())) == len(mine[:count])
        np.testing.assert_array_equal(mine[count:], mine[: max(len(mine) - count, 0)])


def test_balanced_draws_the_order_of_each_round():
    labels = labels_with([40] * 8)
    rounds = labels[make("balanced", labels, (4, 4)).ravel()].reshape(-1, 8)
    assert not any((first == second).all() for first, second in pairwise(rounds))


@every_sampler
@pytest.mark.parametrize(
    ("labels", "shape", "changes", "complaint"),
    [
        ([], (1, 1), {}, "0 images"),
        ([0, 1], (0, 4), {}, "0 works x 4"),
        ([0, 0, 0, 0, 1, 1, 1, 1], (2, 4), {"images_per_epoch": 7}, "images_per_epoch=7 is less than one batch of 8"),
    ],
)
def test_impossible_batches_are_refused(name, labels, shape, changes, complaint):
    with pytest.raises(Error, match=complaint):
        make(name, np.array(labels, dtype=int), shape, **changes)


def test_papers_gives_as_many_batches_as_torchreids_own_loop():
    counts, shape = [30, 22, 18, 11, 9, 8, 6, 5, 3, 2], (3, 4)
    own = [len(make("papers", labels_with(counts), shape, epoch=epoch)) for epoch in range(500)]
    theirs = [torchreid_batches(counts, *shape, random.Random(seed)) for seed in range(500)]
    assert min(own) >= min(theirs) - 1
    assert max(own) <= max(theirs) + 1
    assert np.mean(own) == pytest.approx(np.mean(theirs), abs=0.1)


def torchreid_batches(counts: list[int], works_per_batch: int, images_per_work: int, draws: random.Random) -> int:
    """Restate torchreid's RandomIdentitySampler.__iter__, without the images themselves."""
    groups_of_work = {}
    for work, count in enumerate(counts):
        group, groups = [], []
        for image in range(max(count, images_per_work)):
            group.append(image)
            if len(group) == images_per_work:
                groups.append(group)
                group = []
        groups_of_work[work] = groups
    available, num_batches = list(groups_of_work), 0
    while len(available) >= works_per_batch:
        for work in draws.sample(available, works_per_batch):
            groups_of_work[work].pop(0)
            if not groups_of_work[work]:
                available.remove(work)
        num_batches += 1
    return num_batches
