"""The batch sampler `cross_role`: different roles in every group, every image in every pass, no batch too many."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards_tools.batch_samplers.cross_role import cross_role_batches
from shards_tools.batch_samplers.epochs import EpochParams
from shards_tools.batch_samplers.full import full_batches
from shards_tools.errors import Error

# images of each role of each work
roles_of_works = st.lists(st.lists(st.integers(1, 15), min_size=1, max_size=8), min_size=3, max_size=7)
batch_shapes = st.tuples(st.integers(1, 3), st.integers(1, 6))
numbers = st.integers(0, 2**31)


def works_and_roles(counts: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return work and role of every image, shuffled; the roles of every work are numbered from 0."""
    works = np.repeat(np.arange(len(counts)) * 3 + 5, [sum(roles) for roles in counts])
    roles = np.concatenate([np.repeat(np.arange(len(roles)), roles) for roles in counts])
    order = np.random.default_rng(0).permutation(len(works))
    return works[order], roles[order]


def shaped(shape: tuple[int, int], *, seed: int = 0, epoch: int = 0) -> EpochParams:
    return EpochParams(works_per_batch=shape[0], images_per_work=shape[1], seed=seed, epoch=epoch)


def groups_needed(sizes: list[int], group_size: int) -> int:
    """Find by trial the fewest groups that hold every image and no role too often."""
    most = math.ceil(group_size / len(sizes))
    return next(n for n in range(1, 999) if n * group_size >= sum(sizes) and n * most >= max(sizes))


@settings(deadline=None)
@given(roles_of_works, batch_shapes, numbers, numbers)
def test_every_image_comes_and_groups_are_of_different_roles(counts, shape, seed, epoch):
    works_per_batch, images_per_work = shape
    works, roles = works_and_roles(counts)
    indices = cross_role_batches(works, roles, shaped(shape, seed=seed, epoch=epoch))
    assert indices.dtype == np.int64
    assert set(indices.ravel().tolist()) == set(range(len(works)))
    for batch in indices:
        assert len(set(works[batch].tolist())) == works_per_batch
        for group in batch.reshape(-1, images_per_work):
            assert len(set(works[group].tolist())) == 1
            num_roles = len(counts[(works[group[0]] - 5) // 3])
            uses = Counter(roles[group].tolist())
            assert max(uses.values()) <= math.ceil(images_per_work / num_roles)
            if num_roles >= images_per_work:
                assert len(uses) == images_per_work


@settings(deadline=None)
@given(roles_of_works, batch_shapes, numbers)
def test_a_pass_is_no_longer_than_it_must_be(counts, shape, seed):
    works, roles = works_and_roles(counts)
    indices = cross_role_batches(works, roles, shaped(shape, seed=seed))
    groups = [groups_needed(sizes, shape[1]) for sizes in counts]
    assert len(indices) == max(math.ceil(sum(groups) / shape[0]), *groups)


@settings(deadline=None)
@given(roles_of_works, batch_shapes, numbers)
def test_images_repeat_inside_a_group_only_where_a_role_has_too_few(counts, shape, seed):
    works, roles = works_and_roles(counts)
    indices = cross_role_batches(works, roles, shaped(shape, seed=seed))
    for group in indices.reshape(-1, shape[1]):
        sizes = counts[(works[group[0]] - 5) // 3]
        for image, uses in Counter(group.tolist()).items():
            assert uses == 1 or sizes[roles[image]] < math.ceil(shape[1] / len(sizes))


@settings(deadline=None)
@given(roles_of_works, batch_shapes, numbers)
def test_the_images_of_a_role_come_equally_often(counts, shape, seed):
    works, roles = works_and_roles(counts)
    uses = np.bincount(cross_role_batches(works, roles, shaped(shape, seed=seed)).ravel())
    for work, sizes in enumerate(counts):
        for role in range(len(sizes)):
            mine = uses[(works == 3 * work + 5) & (roles == role)]
            assert mine.max() - mine.min() <= 1


def test_a_role_with_most_images_makes_the_others_repeat_in_proportion_to_theirs():
    works, roles = works_and_roles([[30, 10, 5, 5]] * 3)  # 30 groups of 4, each with every role
    uses = np.bincount(cross_role_batches(works, roles, shaped((3, 4))).ravel())
    assert [set(uses[roles == role].tolist()) for role in range(4)] == [{1}, {3}, {6}, {6}]
    works, roles = works_and_roles([[40, 12, *[4] * 7]] * 3)  # 40 groups of 3: 80 places for 40 images of the others
    uses = np.bincount(cross_role_batches(works, roles, shaped((3, 3))).ravel())
    assert [set(uses[roles == role].tolist()) for role in range(9)] == [{1}, *[{2}] * 8]


def test_all_roles_of_a_work_meet_in_one_pass():
    works, roles = works_and_roles([[11] * 10] * 4)
    met = np.zeros((10, 10), dtype=int)
    for group in cross_role_batches(works, roles, shaped((4, 4))).reshape(-1, 4):
        met[np.ix_(roles[group], roles[group])] += 1
    assert met.min() >= 3


def test_where_no_role_stands_out_the_pass_is_as_long_as_the_full_one():
    works, roles = works_and_roles([[11] * 10] * 20)
    indices = cross_role_batches(works, roles, shaped((8, 4)))
    assert indices.shape == full_batches(works, roles, shaped((8, 4))).shape


def test_a_work_of_one_role_fills_its_groups_with_it():
    works, roles = works_and_roles([[8], [8], [8]])
    indices = cross_role_batches(works, roles, shaped((3, 4)))
    assert sorted(indices.ravel().tolist()) == list(range(24))


@pytest.mark.parametrize("roles", [None, np.zeros(3, dtype=int)])
def test_missing_roles_are_refused(roles):
    with pytest.raises(Error, match="needs the roles of 12 images"):
        cross_role_batches(np.repeat(np.arange(3), 4), roles, shaped((2, 2)))
