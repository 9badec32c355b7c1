"""Every reading gives the same pixels, and `auto` chooses one that fits the machine."""

import dataclasses
from collections import namedtuple

import numpy as np
import psutil
import pytest

from shards_tools import images, reader
from shards_tools.cache import decoded
from shards_tools.decode import decode
from shards_tools.errors import Error
from shards_tools.fits import resize
from shards_tools.images import native_images, one_shape, open_images
from shards_tools.reader import read_image, read_span, spans


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SAKUGA_CACHE", str(tmp_path / "cache"))


class CountingStore:
    """A remote store that counts its reads."""

    is_local = False

    def __init__(self, store):
        self._store, self.reads = store, []

    def __getattr__(self, name):
        return getattr(self._store, name)

    def read(self, name, start, size):
        self.reads.append(size)
        return self._store.read(name, start, size)


@pytest.mark.parametrize("reading", ["decoded", "offset"])
@pytest.mark.parametrize("threads", [1, 3])
def test_every_reading_gives_the_pixels_of_each_image_alone_in_the_order_asked_for(plain, reading, threads):
    opened = open_images(plain, 9, 7, reading, threads=threads)
    assert opened.reading == reading
    indices = np.array([5, 0, 5, 47, 11])
    expected = np.stack([resize(decode(read_image(plain, index), "x"), 9, 7) for index in indices])
    np.testing.assert_array_equal(opened[indices], expected)
    rows = indices[[[0, 1], [3, 2]]]
    for batch, row in zip(opened.batches(rows), rows, strict=True):
        np.testing.assert_array_equal(batch, opened[row])
    assert opened[indices[:0]].shape == (0, 9, 7, 3)


@pytest.mark.parametrize("reading", ["decoded", "offset"])
@pytest.mark.parametrize("size", [(10, 12), (9, 7)])  # the first is the images' own
@pytest.mark.parametrize("threads", [1, 3])
def test_images_are_gathered_into_memory_of_the_caller(plain, reading, size, threads):
    opened = open_images(plain, *size, reading, threads=threads)
    indices = np.array([5, 0, 5, 47, 11])
    rows = np.full((7, *opened.shape), 9, np.uint8)
    out = rows[1:6]
    opened.gather(indices, out)
    expected = [resize(decode(read_image(plain, index), "x"), *size) for index in indices]
    np.testing.assert_array_equal(out, np.stack(expected))
    assert (rows[[0, 6]] == 9).all()
    opened.gather(indices[:0], out[:0])


@pytest.mark.parametrize("index", [-1, 48])
def test_decoded_images_refuse_an_index_that_no_image_has(plain, index):
    with pytest.raises(IndexError, match=f"{index}.* of 48 images"):
        open_images(plain, 9, 7, "decoded").gather(np.array([index]), np.empty((1, 9, 7, 3), np.uint8))


@pytest.mark.parametrize("threads", [1, 3])
def test_a_damaged_image_is_named_whichever_thread_reads_it(plain, threads):
    wrong = plain.sha256.copy()
    wrong[11] = b"0" * 64
    opened = open_images(dataclasses.replace(plain, sha256=wrong), 9, 7, "offset", threads=threads)
    with pytest.raises(Error, match=f"checksum of sample {plain.keys[11]} is wrong"):
        opened[np.arange(20)]


def test_native_images_keep_the_size_they_have(plain):
    natives = native_images(plain, threads=2)[np.array([3, 1])]
    assert [image.shape[:2] for image in natives] == [(plain.height[index], plain.width[index]) for index in (3, 1)]
    np.testing.assert_array_equal(natives[1], decode(read_image(plain, 1), "x"))


def test_a_manifest_has_one_shape_where_all_of_its_images_have_it(plain):
    assert one_shape(plain) == (10, 12)
    height = plain.height.copy()
    height[7] += 1
    assert one_shape(dataclasses.replace(plain, height=height)) is None


@pytest.mark.parametrize(
    ("available", "quota_gb", "expected"),
    [(48 * 8 * 8 * 3 * 2, "1", "decoded"), (48 * 8 * 8 * 3 * 2 - 2, "1", "offset"), (10**9, "0.00001", "decoded"),
     (10**9, "0.000009", "offset")],
)  # fmt: skip
def test_auto_decodes_what_fits_into_half_of_the_memory_and_into_the_quota(
    plain, monkeypatch, available, quota_gb, expected
):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: namedtuple("memory", "available")(available))
    monkeypatch.setenv("SAKUGA_CACHE_GB", quota_gb)
    assert open_images(plain, 8, 8).reading == expected


def test_auto_takes_the_decoded_images_that_are_there_though_the_disk_is_full(plain, monkeypatch):
    decoded(plain, 8, 8)
    monkeypatch.setattr(images.shutil, "disk_usage", lambda folder: namedtuple("usage", "total free")(10**9, 0))
    assert open_images(plain, 8, 8).reading == "decoded"
    assert open_images(plain, 8, 9).reading == "offset"


def test_an_unknown_reading_is_named(plain):
    with pytest.raises(Error, match="'ofset' is not a known reading"):
        open_images(plain, 8, 8, "ofset")


def test_the_decoded_images_of_a_far_store_are_read_in_few_pieces(plain, monkeypatch):
    monkeypatch.setattr(reader, "SPAN_BYTES", 8000)
    far = CountingStore(plain.store)
    manifest = dataclasses.replace(plain, store=far)
    pixels = decoded(manifest, 8, 8)
    assert len(far.reads) < plain.num_images / 3
    assert max(far.reads) < 2 * 8000
    for index in (0, 20, 47):
        np.testing.assert_array_equal(pixels[index], resize(decode(read_image(plain, index), "x"), 8, 8))


def test_spans_hold_every_image_once_and_none_crosses_a_shard(plain, monkeypatch):
    monkeypatch.setattr(reader, "SPAN_BYTES", 3000)
    shard = plain.shard.copy()
    shard[np.argsort(plain.offset)[30:]] = 1
    parts = spans(dataclasses.replace(plain, shard=shard))
    assert sorted(np.concatenate(parts)) == list(range(plain.num_images))
    assert all(len(set(shard[part])) == 1 for part in parts)
    for part in spans(plain):
        assert read_span(plain, part) == [read_image(plain, index) for index in part]
