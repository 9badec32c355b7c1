"""The shuffle pool of a stream: it holds the images that have arrived, and batches are drawn from it."""

from collections.abc import Sequence

import numpy as np

from shards_tools.batch_samplers.epochs import EpochParams
from shards_tools.splits import positions_of_each
from shards_tools.writer import IMAGES_PER_BLOCK

POOL_IMAGES = 4_096  # 256 full blocks: with fewer, neighbors share batches again; more cost memory


def draw_groups(
    labels: np.ndarray, run: Sequence[np.ndarray], params: EpochParams, generator: np.random.Generator
) -> np.ndarray:
    """Return batches of P distinct works x K images from blocks that arrive one after another.

    Args:
        labels: the work of each image, of all runs.
        run: the blocks in the order in which they arrive; each holds positions of one work's images in `labels`.
        params: P and K.
        generator: the source of randomness.

    Returns:
        Positions in `labels`, int64 [num_batches, P * K]; the K images of a work are adjacent.
    """
    pool = _Pool(labels, run, params, generator)
    batches = []
    while pool.fill():
        works = pool.choose_works()
        batches.append(np.concatenate([pool.take(work) for work in works]))
    return np.stack(batches)


def draw_images(
    labels: np.ndarray, run: Sequence[np.ndarray], params: EpochParams, generator: np.random.Generator
) -> np.ndarray:
    """Return batches of any images from blocks that arrive one after another.

    The last batch is filled with repeats from the images that arrived last.

    Args:
        labels: not used; `draw_groups` has the same parameters.
        run: the blocks in the order in which they arrive; each holds positions of images.
        params: the batch size, P * K.
        generator: the source of randomness.

    Returns:
        The positions, int64 [num_batches, P * K].
    """
    images, size = np.concatenate(run), params.batch_size
    pool, end, batches = np.empty(0, np.int64), 0, []
    while len(pool) or end < len(images):
        start, end = end, min(len(images), end + max(POOL_IMAGES, size) - len(pool))
        pool = generator.permutation(np.concatenate([pool, images[start:end]]))
        batch, pool = pool[:size], pool[size:]
        if len(batch) < size:
            before = images[-(POOL_IMAGES + size) :]
            again = generator.permutation(before[~np.isin(before, batch)])
            batch = np.concatenate([batch, again[: size - len(batch)]])
        batches.append(batch)
    return np.stack(batches)


class _Pool:
    """Images that have arrived: fresh ones wait for a group, used ones may fill a group."""

    def __init__(
        self, labels: np.ndarray, run: Sequence[np.ndarray], params: EpochParams, generator: np.random.Generator
    ) -> None:
        self._epoch_params, self._generator, self._run = params, generator, run
        self._images_of_work = positions_of_each(labels)  # including other runs
        works = np.unique(labels, return_inverse=True)[1]
        self._work_of_block = [int(works[block[0]]) for block in run]
        num_works = len(self._images_of_work)
        self._num_arrived = 0  # blocks
        self._arrived: list[list[int]] = [[] for _ in range(num_works)]
        self._fresh: list[list[int]] = [[] for _ in range(num_works)]
        self._to_come = np.bincount(works[np.concatenate(run)], minlength=num_works)  # images
        self._left = -(-self._to_come // params.images_per_work)  # groups with a fresh image, arrived or not
        self._ready = np.zeros(num_works, np.int64)  # groups that can be taken now
        self._last_came = np.full(num_works, -1)  # number of the work's last block

    def fill(self) -> bool:
        """Let blocks arrive until the pool is full enough; return False if no fresh image is left."""
        enough = -(-max(POOL_IMAGES, self._epoch_params.batch_size) // self._epoch_params.images_per_work)
        while self._num_arrived < len(self._run) and (
            self._ready.sum() < enough or np.count_nonzero(self._ready) < self._epoch_params.works_per_batch
        ):
            work, block = self._work_of_block[self._num_arrived], self._run[self._num_arrived].tolist()
            self._arrived[work] += block
            self._fresh[work] += block
            self._to_come[work] -= len(block)
            self._last_came[work] = self._num_arrived
            self._num_arrived += 1
            self._count_ready(work)
        return bool(self._ready.any())

    def choose_works(self) -> np.ndarray:
        """Choose P works, favoring works with many groups; a work that needs every remaining batch is included."""
        num_works, ready = self._epoch_params.works_per_batch, np.flatnonzero(self._ready)
        if len(ready) <= num_works:
            return np.concatenate([ready, self._works_to_repeat(ready, num_works - len(ready))])
        if self._num_arrived < len(self._run):
            due = self._generator.exponential(size=len(ready)) / self._ready[ready]
            num_batches = max(-(-int(self._left.sum()) // num_works), int(self._left.max()))
            due[self._left[ready] >= num_batches] = -1.0
        else:
            due = self._generator.random(len(ready)) - self._left[ready]
        chosen: np.ndarray = np.sort(ready[np.argpartition(due, num_works - 1)[:num_works]])
        return chosen

    def take(self, work: int) -> np.ndarray:
        """Take K images of the work, fresh ones first."""
        fresh, size = self._fresh[work], self._epoch_params.images_per_work
        order = self._generator.permutation(len(fresh)).tolist()
        group = [fresh[place] for place in order[:size]]
        self._fresh[work] = [fresh[place] for place in order[size:]]
        if group:
            self._left[work] -= 1
            self._count_ready(work)
        for before in (self._arrived[work][-IMAGES_PER_BLOCK:], self._arrived[work], self._images_of_work[work]):
            if len(group) < size:
                others = np.setdiff1d(before, group)
                group += self._generator.permutation(others)[: size - len(group)].tolist()
        return np.resize(group, size)

    def _count_ready(self, work: int) -> None:
        num_fresh, size = len(self._fresh[work]), self._epoch_params.images_per_work
        self._ready[work] = num_fresh // size if self._to_come[work] else -(-num_fresh // size)

    def _works_to_repeat(self, chosen: np.ndarray, num_works: int) -> np.ndarray:
        """Choose other works for the last batches from those that arrived last: their images are still in memory."""
        others = np.setdiff1d(np.flatnonzero(self._last_came >= 0), chosen)
        latest = others[np.argsort(-self._last_came[others], kind="stable")][: 4 * self._epoch_params.works_per_batch]
        return self._generator.permutation(latest)[:num_works]
