"""Streamed images: the pixels of any batches, the reads that they need, and the end of threads."""

import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from shards_tools.batch_samplers.epochs import EpochParams
from shards_tools.batch_samplers.stream import stream_batches
from shards_tools.decode import decode
from shards_tools.errors import Error
from shards_tools.fits import resize
from shards_tools.manifest import Manifest
from shards_tools.reader import read_image
from shards_tools.streaming import fetches as fetches_module
from shards_tools.streaming import images as images_module
from shards_tools.streaming.fetches import fetches_of
from shards_tools.streaming.images import StreamedImages

HEIGHT, WIDTH = 8, 9


class CountingStore:
    """The manifest's own store, which counts reads and fails after some of them."""

    def __init__(self, manifest: Manifest, num_good_reads: int = 10**9) -> None:
        self._store, self._num_good_reads = manifest.store, num_good_reads
        self.is_local = False
        self.reads: list[tuple[int, int]] = []

    def place(self, name: str) -> str:
        return self._store.place(name)

    def exists(self) -> bool:
        return self._store.exists()

    def size(self, name: str) -> int | None:
        return self._store.size(name)

    def renew(self, name: str) -> bool:
        return self._store.renew(name)

    def read(self, name: str, start: int, size: int) -> bytes:
        self.reads.append((start, size))
        if len(self.reads) > self._num_good_reads:
            raise Error(f"{self.place(name)} cannot be read: the store is gone.")
        return self._store.read(name, start, size)

    @property
    def num_bytes(self) -> int:
        return sum(size for _, size in self.reads)


def streamed(manifest: Manifest, threads: int = 1, num_good_reads: int = 10**9) -> tuple[StreamedImages, CountingStore]:
    store = CountingStore(manifest, num_good_reads)
    return StreamedImages(replace(manifest, store=store), HEIGHT, WIDTH, threads=threads), store


def pixels(manifest: Manifest) -> np.ndarray:
    """All images, one by one."""
    every = range(manifest.num_images)
    return np.stack([resize(decode(read_image(manifest, index), ""), HEIGHT, WIDTH) for index in every])


def stream_indices(
    manifest: Manifest, indices: np.ndarray, shape: tuple[int, int] = (2, 3), seed: int = 0
) -> np.ndarray:
    """Indices into the manifest."""
    draw = EpochParams(works_per_batch=shape[0], images_per_work=shape[1], seed=seed, epoch=0)
    places = {"shard": manifest.shard[indices], "offset": manifest.offset[indices]}
    return indices[stream_batches("full", manifest.work[indices], manifest.role[indices], draw, **places)]


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make reads of a few images each, keep images for a few batches, and read no gaps."""
    monkeypatch.setattr(fetches_module, "SPAN_BYTES", 8_000)
    monkeypatch.setattr(fetches_module, "GAP_BYTES", 1_600)  # two tar headers and a label are between any two images
    monkeypatch.setattr(fetches_module, "HORIZON_IMAGES", 24)


@pytest.mark.usefixtures("cells")
@pytest.mark.parametrize("threads", [0, 1, 2])
def test_any_plan_gives_its_images_in_its_order(plain, threads):
    images, store = streamed(plain, threads)
    expected = pixels(plain)
    generator = np.random.default_rng(0)
    for shape in [(1, 1), (40, 6), (3, 48), (100, 2), (7, 1)]:
        indices = generator.integers(0, plain.num_images, shape)
        batches = list(images.batches(indices))
        assert len(batches) == len(indices)
        for batch, row in zip(batches, indices, strict=True):
            np.testing.assert_array_equal(batch, expected[row])
    assert len(store.reads) > 40
    assert list(images.batches(np.empty((0, 6), np.int64))) == []


@pytest.mark.usefixtures("cells")
def test_every_image_is_there_when_it_is_needed_and_few_are_kept(five_fold):
    """Check `fetches_of` against its definition by simulating the epoch."""
    generator = np.random.default_rng(0)
    indices = generator.integers(0, five_fold.num_images, (300, 6))
    held: dict[int, int] = {}
    fetches = fetches_of(five_fold, indices)
    assert [fetch.first for fetch in fetches] == sorted(fetch.first for fetch in fetches)
    most, place = 0, 0
    for batch, row in enumerate(indices.tolist()):
        while place < len(fetches) and fetches[place].first == batch:
            arrived = dict(zip(fetches[place].images.tolist(), fetches[place].last.tolist(), strict=True))
            assert not arrived.keys() & held.keys(), "nothing is read while it is held"
            held.update(arrived)
            place += 1
        assert set(row) <= held.keys()
        most = max(most, len(held))
        held = {image: last for image, last in held.items() if last > batch}
    assert place == len(fetches)
    assert not held
    assert most <= 2 * (24 + 6), "what was used and will be used within the horizon of 4 batches"


def test_a_stream_plan_reads_every_shard_once(plain):
    images, store = streamed(plain)
    indices = stream_indices(plain, plain.split().train)
    for batch, row in zip(images.batches(indices), indices, strict=True):
        np.testing.assert_array_equal(batch, pixels(plain)[row])
    assert len(store.reads) == 1, "one shard, smaller than what one request takes"
    assert store.num_bytes <= plain.shards[0].num_bytes


@pytest.mark.usefixtures("cells")
@pytest.mark.parametrize("first", [0, 1, 3, 5])
def test_the_rest_of_a_plan_is_the_rest_of_the_whole_and_reads_only_what_it_needs(plain, first):
    indices = stream_indices(plain, plain.split().train, (2, 2))
    assert len(indices) == 6
    whole, _ = streamed(plain)
    rest, store = streamed(plain)
    expected = list(whole.batches(indices))[first:]
    for batch, row in zip(rest.batches(indices[first:]), expected, strict=True):
        np.testing.assert_array_equal(batch, row)
    needed = plain.offset[np.unique(indices[first:])]
    assert all(((needed >= start) & (needed < start + size)).any() for start, size in store.reads)
    assert store.num_bytes <= 2 * (plain.size[np.unique(indices[first:])].sum() + 1_600 * len(needed))


@pytest.mark.usefixtures("cells")
def test_runs_of_unwanted_bytes_are_not_read(plain):
    order = np.argsort(plain.offset)
    wanted = np.concatenate([order[:4], order[-4:]])
    images, store = streamed(plain)
    (batch,) = images.batches(wanted[None])
    np.testing.assert_array_equal(batch, pixels(plain)[wanted])
    assert store.num_bytes < 0.3 * plain.shards[0].num_bytes


def live_threads() -> int:
    return threading.active_count()


@pytest.mark.usefixtures("cells")
@pytest.mark.parametrize("threads", [0, 1, 2])
def test_a_store_that_gives_up_ends_the_stream_with_its_error_and_no_thread_is_left(plain, threads):
    before = live_threads()
    images, _ = streamed(plain, threads, num_good_reads=6)
    indices = np.random.default_rng(0).permutation(plain.num_images)[:, None]
    batches = images.batches(indices)
    with pytest.raises(Error, match=r"shard-00000\.tar cannot be read: the store is gone\."):
        list(batches)
    assert live_threads() == before
    with pytest.raises(Error, match="the store is gone"):
        images[np.arange(plain.num_images)]
    assert live_threads() == before


@pytest.mark.usefixtures("cells")
@pytest.mark.parametrize("threads", [0, 1, 2])
def test_a_stream_that_is_closed_early_stops_reading_and_its_threads_end(plain, threads):
    before = live_threads()
    images, store = streamed(plain, threads)
    indices = np.argsort(plain.offset)[:, None]
    batches = images.batches(indices)
    next(batches)
    batches.close()
    assert live_threads() == before
    num_reads = len(store.reads)
    assert num_reads < len(fetches_of(plain, indices))
    assert len(store.reads) == num_reads


def test_images_for_evaluation_are_read_once_in_adjacent_requests(plain):
    images, store = streamed(plain)
    indices = np.random.default_rng(0).integers(0, plain.num_images, 30)
    np.testing.assert_array_equal(images[indices], pixels(plain)[indices])
    assert len(store.reads) == 1
    np.testing.assert_array_equal(images[indices[::-1]], pixels(plain)[indices[::-1]])
    assert len(store.reads) == 1
    assert images[np.empty(0, np.int64)].shape == (0, HEIGHT, WIDTH, 3)


def test_evaluation_keeps_no_more_bytes_than_there_is_room_for(plain, monkeypatch):
    monkeypatch.setattr(images_module, "KEPT_BYTES", int(plain.size[:10].sum()))
    images, store = streamed(plain)
    for _ in range(3):
        np.testing.assert_array_equal(images[np.arange(40)], pixels(plain)[:40])
    assert len(store.reads) == 3
    assert sum(map(len, images._kept.values())) <= images_module.KEPT_BYTES
    assert len(images._kept) >= 8


def test_the_environment_of_a_launcher_has_no_effect(plain, monkeypatch):
    indices = stream_indices(plain, plain.split().train)
    expected = np.stack(list(streamed(plain)[0].batches(indices)))
    settings = {"RANK": "1", "WORLD_SIZE": "4", "WDS_SEED": "7", "WORKER": "1", "NUM_WORKERS": "2", "WDS_CACHE": "/"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    np.testing.assert_array_equal(np.stack(list(streamed(plain)[0].batches(indices))), expected)


def test_samples_are_what_webdataset_calls_samples(plain):
    images, _ = streamed(plain)
    captured: list[dict[str, object]] = []
    original = images_module._in_order_of

    def capture(indices: np.ndarray, samples: Iterator[dict[str, object]]) -> Iterator[list[tuple[int, bytes]]]:
        captured.extend(arrived := list(samples))
        return original(indices, iter(arrived))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images_module, "_in_order_of", capture)
        list(images.batches(np.arange(6)[None]))
    assert sorted(str(sample["__key__"]) for sample in captured) == sorted(plain.keys[:6].tolist())
    for sample in captured:
        assert sample["__url__"] == plain.store.place(plain.shards[0].name)
        assert sample.get("jpg", sample.get("png")) == read_image(plain, sample["index"])
