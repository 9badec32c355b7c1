"""Damaged shards in every reading: correct pixels or an Error that names the shard, where webdataset is silent."""

import gzip
import io
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shards_tools.decode import decode
from shards_tools.errors import Error
from shards_tools.fits import resize
from shards_tools.images import open_images
from shards_tools.manifest import Manifest
from shards_tools.reader import read_image
from shards_tools.stores.local import LocalStore
from shards_tools.verify import verify
from shards_tools.writer import TAR_BLOCK

Damage = Callable[[bytes, Manifest], bytes]
by_every_reading = pytest.mark.parametrize("reading", ["decoded", "offset", "stream"])


def middle(manifest: Manifest) -> int:
    """The image in the middle of the shard."""
    return int(np.argsort(manifest.offset)[manifest.num_images // 2])


def header_of(manifest: Manifest, index: int) -> int:
    return int(manifest.offset[index]) - TAR_BLOCK


def flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def members_of(data: bytes) -> list[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [(member.name, tar.extractfile(member).read()) for member in tar]


def tar_of(members: list[tuple[str, bytes]]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def sparse_tar(data: bytes, manifest: Manifest) -> bytes:
    """Put a GNU sparse member that claims 256 MiB in front of the rest."""
    info = tarfile.TarInfo("bomb.jpg")
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"%011o\0" % (256 * 2**20)
    return bytes(header) + data


def images_alone(data: bytes, manifest: Manifest) -> bytes:
    return tar_of([member for member in members_of(data) if not member[0].endswith(".cls")])


def images_then_labels(data: bytes, manifest: Manifest) -> bytes:
    return tar_of(sorted(members_of(data), key=lambda member: member[0].endswith(".cls")))


def with_headers(name: str = "/tmp/escaped", kind: bytes = tarfile.REGTYPE, size: int | None = None) -> Damage:
    """Give every image a header of this name, type and size, with a correct checksum; pixels and offsets stay."""

    def damage(data: bytes, manifest: Manifest) -> bytes:
        tar = bytearray(data)
        for index in range(manifest.num_images):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "../../escaped" if kind != tarfile.REGTYPE else ""
            info.size = int(manifest.size[index]) if size is None else size
            tar[header_of(manifest, index) : manifest.offset[index]] = info.tobuf(tarfile.GNU_FORMAT)
        return bytes(tar)

    return damage


REFUSED: dict[str, Damage] = {
    "cut inside a header": lambda data, manifest: data[: header_of(manifest, middle(manifest)) + 100],
    "cut between two samples": lambda data, manifest: data[: header_of(manifest, middle(manifest))],
    "cut inside an image": lambda data, manifest: data[: manifest.offset[middle(manifest)] + 20],
    "a data byte flipped": lambda data, manifest: flip(data, int(manifest.offset[middle(manifest)]) + 40),
    "an HTML page": lambda data, manifest: b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>" * 10,
    "an HTML page as long as the shard": lambda data, manifest: (b"<html>" * len(data))[: len(data)],
    "nothing": lambda data, manifest: b"",
    "samples without labels": images_alone,
    "images, then labels": images_then_labels,
    "a sparse member": sparse_tar,
    "gzip under the name of a tar": lambda data, manifest: gzip.compress(data),
    "another shard": lambda data, manifest: tar_of(list(reversed(members_of(data)))),
}
HARMLESS: dict[str, Damage] = {
    "a header byte flipped": lambda data, manifest: flip(data, header_of(manifest, middle(manifest)) + 5),
    "a size in a header changed": lambda data, manifest: flip(data, header_of(manifest, middle(manifest)) + 134),
    "a label byte flipped": lambda data, manifest: flip(data, header_of(manifest, middle(manifest)) - TAR_BLOCK),
    "no end mark": lambda data, manifest: data[: -2 * TAR_BLOCK],
    "bytes after the end": lambda data, manifest: data + b"more",
    "absolute paths, all the same": with_headers("/tmp/escaped.jpg"),
    "paths that lead out": with_headers("../../escaped.jpg"),
    "symbolic links": with_headers(kind=tarfile.SYMTYPE),
    "hard links": with_headers(kind=tarfile.LNKTYPE),
    "devices": with_headers(kind=tarfile.BLKTYPE),
    "folders": with_headers(kind=tarfile.DIRTYPE),
    "long names": with_headers(kind=tarfile.GNUTYPE_LONGNAME),
    "sizes of 64 GB": with_headers(size=2**36),
    "sizes of 0": with_headers(size=0),
}


def damaged(manifest: Manifest, damage: Damage, folder: Path) -> Manifest:
    """The manifest with its shard in another folder, damaged."""
    (shard,) = manifest.shards
    folder.mkdir()
    before = Path(manifest.store.place(shard.name)).read_bytes()
    after = damage(before, manifest)
    assert after != before
    (folder / shard.name).write_bytes(after)
    return replace(manifest, store=LocalStore(folder))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    """Damaged shards have the fingerprint of the intact ones, whose pixels another test may have cached."""
    monkeypatch.setenv("SAKUGA_CACHE", str(tmp_path / "cache"))


@by_every_reading
@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("in_batches", [True, False], ids=["batches", "evaluation"])
def test_damage_to_an_image_is_an_error_that_names_the_shard(plain, tmp_path, name, in_batches, reading):
    broken = damaged(plain, REFUSED[name], tmp_path / "broken")
    every = np.arange(plain.num_images)

    def read_all() -> object:
        images = open_images(broken, 8, 8, reading)
        return list(images.batches(every.reshape(-1, 4))) if in_batches else images[every]

    with pytest.raises(Error, match=r"shard-00000\.tar") as failure:
        read_all()
    assert "\n" not in str(failure.value)
    assert len(str(failure.value)) < 400


@by_every_reading
def test_a_wrong_checksum_names_the_sample(plain, tmp_path, reading):
    broken = damaged(plain, REFUSED["a data byte flipped"], tmp_path / "broken")
    with pytest.raises(Error, match=f"checksum of sample {plain.keys[middle(plain)]} is wrong"):
        list(open_images(broken, 8, 8, reading).batches(np.arange(plain.num_images)[None]))


@by_every_reading
@pytest.mark.parametrize("name", HARMLESS)
def test_damage_to_what_the_manifest_knows_better_changes_no_pixel(plain, tmp_path, name, reading):
    images = open_images(damaged(plain, HARMLESS[name], tmp_path / "broken"), 8, 8, reading)
    every = np.arange(plain.num_images)
    expected = np.stack([resize(decode(read_image(plain, index), ""), 8, 8) for index in every])
    np.testing.assert_array_equal(np.concatenate(list(images.batches(every.reshape(-1, 4)))), expected)
    np.testing.assert_array_equal(images[every], expected)
    assert not list(tmp_path.parent.rglob("*escaped*"))
    assert not list(Path("/tmp").glob("escaped*"))


@pytest.mark.parametrize("name", REFUSED | HARMLESS)
def test_no_damage_escapes_the_verification_of_every_byte(plain, name):
    (shard,) = plain.store.folder.glob("*.tar")
    shard.write_bytes((REFUSED | HARMLESS)[name](shard.read_bytes(), plain))
    with pytest.raises(Error, match=f"{shard} is damaged"):
        verify(plain.store.folder, "full")
