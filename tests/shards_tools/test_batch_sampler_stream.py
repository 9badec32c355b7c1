"""Batches for streaming: coverage, distinct works, equal batches on every rank, and the order of the shards."""

import csv
import math
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards_tools.batch_samplers import pool
from shards_tools.batch_samplers.epochs import EpochParams
from shards_tools.batch_samplers.stream import LAWS, stream_batches
from shards_tools.errors import Error
from shards_tools.writer import MAX_SHARD_BYTES, blocks_in_shards
from tests.shards_tools.ranks import every_rank

# images of each role of each work
roles_of_works = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=6), min_size=3, max_size=8)
batch_shapes = st.tuples(st.integers(1, 3), st.integers(1, 6))
numbers = st.integers(0, 2**31)
every_law = pytest.mark.parametrize("name", LAWS)


class Data:
    """Labels of a split, and the positions of its images in the shards."""

    def __init__(self, counts: list[list[int]], image_bytes: int, works: np.ndarray | None = None) -> None:
        sizes = np.array([size for work in counts for size in work])
        works = np.repeat(np.arange(len(counts)) * 3 + 5, [len(work) for work in counts]) if works is None else works
        self.labels, self.roles = np.repeat(works, sizes), np.repeat(np.arange(len(sizes)), sizes)
        self.shard, self.offset = np.empty((2, len(self.roles)), np.int64)
        for number, images in enumerate(blocks_in_shards(self.roles, np.full(len(self.roles), image_bytes))):
            self.shard[images] = number
            self.offset[images] = np.arange(len(images)) * (image_bytes + 2048)

    def indices(self, shape: tuple[int, int] = (16, 4), *, name: str = "full", world: int = 1, **changes) -> np.ndarray:
        """The batches of all ranks: the first of each, then the second of each."""
        draw = EpochParams(
            **{"works_per_batch": shape[0], "images_per_work": shape[1], "seed": 0, "epoch": 0, **changes}
        )
        of_rank = partial(stream_batches, name, self.labels, self.roles, draw, shard=self.shard, offset=self.offset)
        ranks = every_rank(lambda rank, longest: of_rank(rank=rank, world=world, longest=longest), world)
        return np.stack(ranks, axis=1).reshape(-1, draw.batch_size)


def lsasrd_like() -> Data:
    """190 works, 1,829 roles, about 20,000 images of 30 kB in 10 shards."""
    generator = np.random.default_rng(0)
    counts = np.clip(generator.lognormal(2.3, 0.5, 1829).astype(int), 4, 84)
    return Data([counts.tolist()], 29_500, works=np.sort(generator.integers(0, 190, 1829)))


def dafre_like() -> Data:
    """The training images of DAF:re, with the real counts."""
    root = os.environ.get("SAKUGA_REAL_DATA")
    if root is None:
        pytest.skip("SAKUGA_REAL_DATA is not set")
    with (Path(root) / "dafre_class_counts.csv").open() as file:
        return Data([[int(row["train_reconstructed"])] for row in csv.DictReader(file)], 9_200)


def check_groups(data: Data, indices: np.ndarray, shape: tuple[int, int]) -> None:
    """P distinct works per batch, K adjacent images of each, no image twice if its work has K."""
    works = data.labels[indices].reshape(len(indices), *shape)
    assert (works == works[:, :, :1]).all()
    assert (np.diff(np.sort(works[:, :, 0], axis=1), axis=1) > 0).all()
    num_distinct = 1 + np.count_nonzero(np.diff(np.sort(indices.reshape(-1, shape[1]), axis=1), axis=1), axis=1)
    values, counts = np.unique(data.labels, return_counts=True)
    sizes = counts[np.searchsorted(values, works[:, :, 0].ravel())]
    np.testing.assert_array_equal(num_distinct, np.minimum(sizes, shape[1]))


@settings(deadline=None, max_examples=60)
@given(roles_of_works, batch_shapes, numbers, numbers, st.sampled_from([1, 2, 3, 8]), st.sampled_from([3, 40, 4096]))
def test_a_pass_is_every_image_in_batches_of_distinct_works(counts, shape, seed, epoch, world, pool_images):
    data = Data(counts, MAX_SHARD_BYTES // 30)  # a few shards
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "POOL_IMAGES", pool_images)
        indices = data.indices(shape, world=world, seed=seed, epoch=epoch)
    assert indices.dtype == np.int64
    assert set(indices.ravel().tolist()) == set(range(len(data.labels)))
    assert len(indices) % world == 0
    check_groups(data, indices, shape)
    if world == 1 and pool_images == 4096:
        groups = [math.ceil(sum(roles) / shape[1]) for roles in counts]
        assert len(indices) == max(math.ceil(sum(groups) / shape[0]), *groups), "as short as full"


@settings(deadline=None, max_examples=40)
@given(roles_of_works, batch_shapes, numbers, st.sampled_from([1, 2, 3, 8]))
def test_shuffle_holds_every_image_and_none_twice_in_a_batch(counts, shape, seed, world):
    data, size = Data(counts, MAX_SHARD_BYTES // 30), math.prod(shape)
    if len(data.labels) < size:
        with pytest.raises(Error, match="do not fill one batch"):
            data.indices(shape, name="shuffle", world=world, seed=seed)
        return
    indices = data.indices(shape, name="shuffle", world=world, seed=seed)
    assert set(indices.ravel().tolist()) == set(range(len(data.labels)))
    assert (np.diff(np.sort(indices, axis=1), axis=1) > 0).all()
    assert indices.size < len(data.labels) + 2 * world * size + 16 * world * world


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_an_lsasrd_like_set_is_covered_by_equally_many_batches_of_every_rank(world):
    data = lsasrd_like()
    assert data.shard.max() == 9
    indices = data.indices(world=world)
    ranks = [indices[rank::world] for rank in range(world)]
    assert len({len(rank) for rank in ranks}) == 1
    assert len(np.unique(np.concatenate(ranks))) == len(data.labels)
    check_groups(data, indices, (16, 4))
    assert indices.size < (1.02 + 0.01 * world) * len(data.labels)


@pytest.mark.parametrize("world", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_dafre_is_covered_by_equally_many_batches_of_every_rank(world):
    data = dafre_like()
    indices = data.indices(world=world)
    assert len(indices) % world == 0
    assert len(np.unique(indices)) == len(data.labels)
    check_groups(data, indices, (16, 4))
    assert indices.size < 1.02 * len(data.labels)


def test_ranks_read_runs_of_their_own():
    data = lsasrd_like()
    indices = data.indices(world=8)
    readers = [set(indices[rank::8].ravel().tolist()) for rank in range(8)]
    shared = sum(map(len, readers)) - len(set.union(*readers))
    assert shared < 0.02 * len(data.labels)
    assert max(map(len, readers)) < 1.02 * len(data.labels) / 8


def test_where_a_run_holds_too_few_works_ranks_share_one_walk():
    data = Data([[6, 6]] * 4, MAX_SHARD_BYTES // 8)
    alone, shared = data.indices((4, 3)), data.indices((4, 3), world=3)
    assert len(alone) == 4
    assert len(shared) == 6
    np.testing.assert_array_equal(shared, alone[[0, 1, 2, 3, 0, 1]])


@every_law
def test_the_first_batches_need_only_the_first_part_of_the_walk(name):
    data = lsasrd_like()
    indices = data.indices(name=name)
    seen: set[int] = set()
    for batch, images in enumerate(indices.tolist()):
        seen |= set(images)
        arrived = pool.POOL_IMAGES + (batch + 1) * 64
        shards = data.shard[list(seen)]
        held = sum(np.count_nonzero(data.shard == shard) for shard in set(shards.tolist()))
        assert held <= arrived + 2 * 2_200, "whole shards that were begun; works wait for company with a few images"


@every_law
def test_epochs_walk_in_other_orders_and_equal_seeds_in_equal_ones(name, monkeypatch):
    monkeypatch.setattr(pool, "POOL_IMAGES", 300)
    data = Data([[20] * 4] * 60, MAX_SHARD_BYTES // 300)
    indices = data.indices(name=name, seed=1, epoch=2)
    np.testing.assert_array_equal(indices, data.indices(name=name, seed=1, epoch=2))
    begins = [frozenset(data.shard[data.indices(name=name, seed=1, epoch=epoch)[0]].tolist()) for epoch in range(6)]
    assert len(set(begins)) >= 4, "an epoch begins at other shards than the one before"
    assert not np.array_equal(indices, data.indices(name=name, seed=2, epoch=2))


@every_law
def test_a_single_shard_is_entered_at_another_place_in_every_epoch(name, monkeypatch):
    monkeypatch.setattr(pool, "POOL_IMAGES", 300)
    data = Data([[20] * 4] * 60, 1000)
    assert data.shard.max() == 0
    firsts = [np.median(data.offset[data.indices(name=name, epoch=epoch)[0]]) for epoch in range(8)]
    assert np.ptp(firsts) > 0.3 * data.offset.max()


def test_the_environment_of_a_launcher_has_no_effect(monkeypatch):
    data = lsasrd_like()
    indices = data.indices()
    for name, value in {"WDS_SEED": "7", "RANK": "1", "WORLD_SIZE": "4", "WORKER": "1", "NUM_WORKERS": "2"}.items():
        monkeypatch.setenv(name, value)
    np.testing.assert_array_equal(indices, data.indices())


@every_law
@pytest.mark.parametrize("world", [1, 3])
def test_the_pieces_of_a_pass_together_are_the_pass(name, world):
    data, limit = Data([[20] * 4] * 60, MAX_SHARD_BYTES // 300), 1_600
    whole = data.indices(name=name, world=world, epoch=1)
    pieces = math.ceil(len(whole) // world / (limit // (64 * world)))
    cut = [data.indices(name=name, world=world, epoch=pieces + n, images_per_epoch=limit) for n in range(pieces)]
    np.testing.assert_array_equal(np.concatenate(cut), whole)
    assert all(len(piece) % world == 0 for piece in cut)
    assert max(piece.size for piece in cut) <= limit


def test_a_giant_work_comes_whole_and_starves_nobody():
    data = Data([[1000], *[[4, 4]] * 7], MAX_SHARD_BYTES // 100)
    indices = data.indices((4, 4))
    assert len(indices) == 250
    assert len(np.unique(indices)) == len(data.labels)
    check_groups(data, indices, (4, 4))


@pytest.mark.parametrize("seed", range(4))
def test_a_work_with_just_a_batch_s_share_of_all_groups_makes_no_pass_longer(seed, monkeypatch):
    monkeypatch.setattr(pool, "POOL_IMAGES", 64)
    data = Data([[160], *[[4]] * 40], MAX_SHARD_BYTES // 100)
    assert len(data.indices((2, 2), seed=seed)) <= 82, "80 batches hold all images"


def test_images_of_a_work_come_from_several_of_its_roles():
    data = lsasrd_like()
    groups = data.roles[data.indices().reshape(-1, 4)]
    assert np.mean([len(set(group)) for group in groups.tolist()]) > 2


@pytest.mark.parametrize("name", ["papers", "balanced", "cross_role", "nonsense"])
def test_other_plans_are_refused_in_one_line(name):
    with pytest.raises(Error, match=f"batch_sampler={name} cannot stream.* Set it to full or shuffle") as failure:
        lsasrd_like().indices(name=name)
    assert "\n" not in str(failure.value)


@every_law
def test_impossible_batches_are_refused(name):
    data = Data([[2], [2]], 1000)
    for shape, complaint in [((0, 4), "0 works x 4"), ((3, 2), "works_per_batch=3 is more|do not fill one batch")]:
        with pytest.raises(Error, match=complaint):
            data.indices(shape, name=name)
