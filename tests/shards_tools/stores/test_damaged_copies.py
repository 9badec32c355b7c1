"""Missing or damaged copies of remote shards are noticed when they are read, and fetched again, in one line."""

import logging
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shards_tools.errors import Error
from shards_tools.images import open_images
from shards_tools.manifest import Manifest
from shards_tools.manifest_file import read_manifest
from shards_tools.reader import read_image, read_span, spans
from shards_tools.stores import shard_cache
from shards_tools.stores.shard_cache import FILE_NAME, cached
from tests.shards_tools.stores.servers import Web

Deed = Callable[[Path], object]


@pytest.fixture
def remote(web: Web, shards: Path, impatient: None) -> Manifest:
    """The manifest of shards that the web server serves as /set."""
    web.files |= {f"/set/{file.name}": file.read_bytes() for file in shards.iterdir()}
    return read_manifest(f"{web.address}/set")


def all_bytes(manifest: Manifest) -> list[bytes]:
    return [read_image(manifest, index) for index in range(manifest.num_images)]


def flip_a_bit_of_every_kilobyte(place: Path) -> None:
    data = np.frombuffer((place / FILE_NAME).read_bytes(), np.uint8).copy()
    data[::1024] ^= 1
    (place / FILE_NAME).write_bytes(data.tobytes())


def link_elsewhere(place: Path) -> None:
    flip_a_bit_of_every_kilobyte(place)
    shutil.copy(place / FILE_NAME, place.parent.parent / "other")
    (place / FILE_NAME).unlink()
    (place / FILE_NAME).symlink_to(place.parent.parent / "other")


def put_a_pipe(place: Path) -> None:
    (place / FILE_NAME).unlink()
    os.mkfifo(place / FILE_NAME)


DEEDS: dict[str, Deed] = {
    "purged": lambda place: os.remove(place / FILE_NAME),
    "cut": lambda place: os.truncate(place / FILE_NAME, 500),
    "emptied": lambda place: os.truncate(place / FILE_NAME, 0),
    "flipped bits": flip_a_bit_of_every_kilobyte,
    "zeros": lambda place: (place / FILE_NAME).write_bytes(bytes((place / FILE_NAME).stat().st_size)),
    "a link": link_elsewhere,
    "a pipe": put_a_pipe,
}


@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
def test_a_damaged_copy_is_fetched_again_and_reported_once(
    deed: Deed, remote: Manifest, shards: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = all_bytes(read_manifest(shards))
    all_bytes(cached(remote, tmp_path))
    place = tmp_path / "shards" / remote.shards[0].sha256
    deed(place)
    assert all_bytes(cached(remote, tmp_path)) == expected
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "checksum" in line
    assert "rebuilt" in line
    assert str(place) in line
    caplog.clear()
    assert all_bytes(cached(remote, tmp_path)) == expected
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert [entry.name for entry in (tmp_path / "shards").iterdir()] == [place.name]


def test_a_span_of_a_damaged_copy_is_read_from_a_new_one(remote: Manifest, shards: Path, tmp_path: Path) -> None:
    copy, local = cached(remote, tmp_path), read_manifest(shards)
    read_image(copy, 0)
    flip_a_bit_of_every_kilobyte(tmp_path / "shards" / remote.shards[0].sha256)
    assert [read_span(copy, span) for span in spans(copy)] == [read_span(local, span) for span in spans(local)]


def test_threads_that_find_the_damage_at_once_fetch_once(remote: Manifest, shards: Path, tmp_path: Path, web) -> None:
    copy, expected = cached(remote, tmp_path), all_bytes(read_manifest(shards))
    read_image(copy, 0)
    flip_a_bit_of_every_kilobyte(tmp_path / "shards" / remote.shards[0].sha256)
    web.asked.clear()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda index: read_image(copy, index), range(copy.num_images))) == expected
    assert [asked.split()[0] for asked in web.asked] == ["HEAD", "GET"]


def test_a_copy_that_is_damaged_again_at_once_is_an_error(
    remote: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_the_end(store: object, shard: object, room: Path) -> None:
        (room / FILE_NAME).write_bytes(b"short")

    monkeypatch.setattr(shard_cache, "_fetch", lose_the_end)
    with pytest.raises(Error, match=r"does not match its checksum right after it was fetched again\. Set SAKUGA_CACHE"):
        read_image(cached(remote, tmp_path), 0)


def test_an_image_that_contradicts_an_intact_shard_is_an_error_and_the_copy_stays(
    remote: Manifest, tmp_path: Path, web: Web
) -> None:
    copy = cached(replace(remote, sha256=np.full_like(remote.sha256, b"0" * 64)), tmp_path)
    with pytest.raises(Error, match=rf"the checksum of sample {remote.keys[3]} is wrong"):
        read_image(copy, 3)
    web.asked.clear()
    all_bytes(cached(remote, tmp_path))
    assert web.asked == []


def test_damage_to_local_shards_is_never_removed(shards: Path, tmp_path: Path) -> None:
    own = shutil.copytree(shards, tmp_path / "own")
    manifest = read_manifest(own)
    path = own / manifest.shards[0].name
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(Error, match="is wrong"):
        read_image(manifest, 0)
    assert path.exists()


def test_every_way_of_reading_survives_a_damaged_copy(
    remote: Manifest, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAKUGA_CACHE", str(tmp_path / "cache"))
    indices = np.arange(remote.num_images)
    expected = open_images(read_manifest(shards), 8, 8, "stream")[indices]
    for damage in DEEDS.values():
        for reading in ("decoded", "offset", "stream"):
            np.testing.assert_array_equal(open_images(remote, 8, 8, reading)[indices], expected)
        for place in (tmp_path / "cache" / "shards").iterdir():
            damage(place)
