"""Decoded pixels are correct, built once, shared, and never visible half built."""

import multiprocessing
import os
import shutil
import signal
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from shards_tools import cache
from shards_tools.cache import cache_folder, decoded
from shards_tools.decode import decode
from shards_tools.errors import Error
from shards_tools.fits import resize
from shards_tools.manifest_file import read_manifest
from shards_tools.reader import read_image

processes = multiprocessing.get_context("spawn")


def decode_in_another_process(shards: Path, folder: Path) -> None:
    decoded(read_manifest(shards), 8, 8, folder)


def decode_and_stop_half_way(shards: Path, folder: Path) -> None:
    manifest = read_manifest(shards)

    def stop(data, name):
        if name == manifest.keys[manifest.num_images // 2]:
            time.sleep(600)
        return decode(data, name)

    cache.decode = stop
    decoded(manifest, 8, 8, folder)


@pytest.mark.parametrize("size", [(10, 12), (16, 16), (5, 7)])
def test_pixels_equal_those_of_each_image_alone(plain, tmp_path, size):
    pixels = decoded(plain, *size, tmp_path / "cache")
    assert pixels.shape == (48, *size, 3)
    assert pixels.dtype == np.uint8
    for index in range(plain.num_images):
        np.testing.assert_array_equal(pixels[index], resize(decode(read_image(plain, index), "x"), *size))


def test_nobody_can_write_into_the_pixels(plain, tmp_path):
    pixels = decoded(plain, 8, 8, tmp_path / "cache")
    with pytest.raises(ValueError, match="read-only"):
        pixels[0] = 0


def test_the_second_call_reads_no_shard(plain, tmp_path):
    first = decoded(plain, 8, 8, tmp_path / "cache")
    for shard in plain.store.folder.glob("*.tar"):
        shard.unlink()
    np.testing.assert_array_equal(decoded(plain, 8, 8, tmp_path / "cache"), first)


def test_each_size_and_each_data_set_has_its_own_pixels(plain, five_fold, tmp_path):
    for manifest in (plain, five_fold):
        for size in ((8, 8), (8, 9)):
            assert decoded(manifest, *size, tmp_path / "cache").shape == (manifest.num_images, *size, 3)
    assert len(list((tmp_path / "cache").iterdir())) == 4


def test_two_processes_at_once_build_it_once(plain, tmp_path):
    folder = tmp_path / "cache"
    task = {"target": decode_in_another_process, "args": (plain.store.folder, folder), "daemon": True}
    readers = [processes.Process(**task) for _ in range(3)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(60)
    assert [reader.exitcode for reader in readers] == [0, 0, 0]
    (place,) = folder.iterdir()
    inode = place.stat().st_ino
    decoded(plain, 8, 8, folder)
    assert place.stat().st_ino == inode


def test_a_killed_build_leaves_no_visible_cache(plain, tmp_path):
    folder = tmp_path / "cache"
    builder = processes.Process(target=decode_and_stop_half_way, args=(plain.store.folder, folder), daemon=True)
    builder.start()
    deadline = time.monotonic() + 30
    while not list(folder.glob(".*.building/pixels.npy")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(builder.pid, signal.SIGKILL)
    builder.join()
    assert [path for path in folder.iterdir() if not path.name.startswith(".")] == []
    assert decoded(plain, 8, 8, folder)[-1].any()
    assert [path.name[0] for path in folder.iterdir()] == ["p"]


def test_a_damaged_shard_makes_no_cache(plain, tmp_path):
    shard = next(plain.store.folder.glob("*.tar"))
    data = bytearray(shard.read_bytes())
    data[int(plain.offset[30]) + 50] ^= 4
    shard.write_bytes(data)
    with pytest.raises(Error, match=f"sample {plain.keys[30]} is wrong"):
        decoded(plain, 8, 8, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_full_disk_is_said_before_it_is_filled(plain, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10, 9, 1000))
    with pytest.raises(Error, match="SAKUGA_CACHE"):
        decoded(plain, 8, 8, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_cache_stands_where_the_environment_says(monkeypatch):
    monkeypatch.setenv("SAKUGA_CACHE", "/some/where")
    assert cache_folder() == Path("/some/where")
    monkeypatch.delenv("SAKUGA_CACHE")
    assert cache_folder() == Path.home() / ".cache/sakuga"
