"""Damaged shards by every way of reading them: refused by name, or whole, where webdataset 1.0.2 is silent."""

import gzip
import io
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shards_tools.errors import Error
from shards_tools.images import DecodedImages, Images, OffsetImages
from shards_tools.manifest import Manifest
from shards_tools.manifest_file import read_manifest
from shards_tools.stores.local import LocalStore
from shards_tools.streaming.images import StreamedImages
from shards_tools.verify import verify

READINGS: dict[str, Callable[[Manifest, int, int], Images]] = {
    "decoded": DecodedImages,
    "offset": OffsetImages,
    "stream": StreamedImages,
}
by_every_reading = pytest.mark.parametrize("reading", READINGS)


class DistantStore(LocalStore):
    """A store whose files are not looked at before they are read, as no remote ones are."""

    is_local = False


@pytest.fixture
def shard(plain: Manifest) -> Path:
    return plain.store.folder / plain.shards[0].name


def read_all(manifest: Manifest, reading: str) -> np.ndarray:
    """Every image in batches of eight, read as from a store far away."""
    images = READINGS[reading](replace(manifest, store=DistantStore(manifest.store.folder)), 10, 12)
    plan = np.arange(manifest.num_images).reshape(-1, 8)
    return np.concatenate(list(images.batches(plan)))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SAKUGA_CACHE", str(tmp_path / "cache"))


def first_sample(manifest: Manifest) -> int:
    """The offset of the image that stands in the middle of the shard."""
    return int(np.sort(manifest.offset)[len(manifest.offset) // 2])


def cut_in_a_header(data: bytes, at: int) -> bytes:
    return data[: at - 300]


def cut_between_samples(data: bytes, at: int) -> bytes:
    return data[: at - 512]


def cut_in_an_image(data: bytes, at: int) -> bytes:
    return data[: at + 20]


def flip_in_an_image(data: bytes, at: int) -> bytes:
    return data[: at + 40] + bytes([data[at + 40] ^ 1]) + data[at + 41 :]


def an_error_page(data: bytes, at: int) -> bytes:
    return b"<html><body>503 Service Unavailable</body></html>"


def an_error_page_of_the_same_size(data: bytes, at: int) -> bytes:
    return an_error_page(data, at).ljust(len(data))


def nothing(data: bytes, at: int) -> bytes:
    return b""


def packed_under_a_tar_name(data: bytes, at: int) -> bytes:
    return gzip.compress(data)


def members_in_another_order(data: bytes, at: int) -> bytes:
    """`0.jpg 1.jpg ... 0.cls 1.cls`, of which webdataset makes half samples."""
    file = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=file, mode="w") as new:
        for member in sorted(old, key=lambda member: member.name.endswith(".cls")):
            new.addfile(member, old.extractfile(member))
    return file.getvalue()[: len(data)].ljust(len(data), b"\0")


DAMAGES = (
    cut_in_a_header,
    cut_between_samples,
    cut_in_an_image,
    flip_in_an_image,
    an_error_page,
    an_error_page_of_the_same_size,
    nothing,
    packed_under_a_tar_name,
    members_in_another_order,
)


@by_every_reading
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_refused_by_the_name_of_the_shard(damage, reading, plain, shard):
    shard.write_bytes(damage(shard.read_bytes(), first_sample(plain)))
    with pytest.raises(Error, match=r"shard-00000\.tar (is damaged|ends after|holds|cannot be read)") as refusal:
        read_all(plain, reading)
    assert "\n" not in str(refusal.value)
    with pytest.raises(Error, match=r"shard-00000\.tar is damaged"):
        verify(plain.store.folder, "full")


@by_every_reading
def test_a_damaged_tar_header_costs_no_image_as_the_manifest_says_where_they_are(reading, plain, shard):
    whole = read_all(plain, reading)
    data, header = bytearray(shard.read_bytes()), first_sample(plain) - 512
    data[header + 130] ^= 1
    shard.write_bytes(data)
    with tarfile.open(shard) as tar:
        assert len(tar.getmembers()) < 2 * plain.num_images, "tarfile would have lost the rest"
    np.testing.assert_array_equal(read_all(plain, reading), whole)
    with pytest.raises(Error, match=r"shard-00000\.tar is damaged"):
        verify(plain.store.folder, "full")


@by_every_reading
def test_a_sparse_member_is_bytes_like_any_other(reading, plain, shard):
    """Of a sparse header webdataset makes a sample of any size; here only offsets and sizes of the manifest count."""
    whole = read_all(plain, reading)
    data, header = bytearray(shard.read_bytes()), first_sample(plain) - 512
    data[header + 156 : header + 157] = b"S"
    data[header + 124 : header + 136] = b"77777777777\0"
    shard.write_bytes(data)
    np.testing.assert_array_equal(read_all(plain, reading), whole)


def test_a_local_shard_of_another_size_is_refused_before_it_is_read(plain, shard):
    shard.write_bytes(shard.read_bytes()[:-512])
    with pytest.raises(Error, match=r"shard-00000\.tar is damaged: it holds"):
        read_manifest(plain.store.folder)
