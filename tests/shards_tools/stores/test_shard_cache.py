"""Remote shards are downloaded once per machine, checked on arrival, and never mixed up."""

import copy
import errno
import multiprocessing
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shards_tools.cache import decoded
from shards_tools.errors import Error
from shards_tools.folders import build_once
from shards_tools.manifest import Manifest
from shards_tools.manifest_file import read_manifest
from shards_tools.reader import read_image
from shards_tools.stores import open_store, shard_cache
from shards_tools.stores.shard_cache import FILE_NAME, cached, cached_shard
from tests.shards_tools.stores.servers import Web, answer, answer_range

processes = multiprocessing.get_context("spawn")


@pytest.fixture
def remote(web: Web, shards: Path, impatient: None) -> Manifest:
    """The manifest of shards that the web server serves as /set."""
    serve(web, shards, "/set")
    return read_manifest(f"{web.address}/set")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A separate folder, because the small sets of other fixtures are in tmp_path."""
    return tmp_path / "cache"


def serve(web: Web, folder: Path, path: str) -> None:
    web.files |= {f"{path}/{file.name}": file.read_bytes() for file in folder.iterdir()}


def kept(folder: Path) -> list[str]:
    return sorted(entry.name for entry in (folder / "shards").iterdir())


def fetch(address: str, folder: Path) -> None:
    manifest = read_manifest(address)
    cached_shard(manifest.store, manifest.shards[0], folder)


def all_bytes(manifest: Manifest) -> list[bytes]:
    return [read_image(manifest, index) for index in range(manifest.num_images)]


def test_images_by_offset_are_those_of_local_shards_and_cost_one_fetch(remote, web, shards, tmp_path):
    web.asked.clear()
    assert all_bytes(cached(remote, tmp_path)) == all_bytes(read_manifest(shards))
    (name,) = [shard.name for shard in remote.shards]
    size = remote.shards[0].num_bytes
    assert web.asked == [f"HEAD /set/{name}", f"GET /set/{name} 0-{size - 1}"]
    assert kept(tmp_path) == [remote.shards[0].sha256]


def test_a_shard_comes_in_ranges(remote, web, tmp_path, monkeypatch):
    monkeypatch.setattr(shard_cache, "RANGE_BYTES", 10_000)
    web.asked.clear()
    copy = cached_shard(remote.store, remote.shards[0], tmp_path)
    size = remote.shards[0].num_bytes
    assert len(web.asked) == 1 + -(-size // 10_000)
    assert copy.read(FILE_NAME, 0, size) == web.files[f"/set/{remote.shards[0].name}"]


def test_what_is_kept_needs_no_server(remote, web, tmp_path):
    cached_shard(remote.store, remote.shards[0], tmp_path)
    again = read_manifest(f"{web.address}/set")
    web.asked.clear()
    all_bytes(cached(again, tmp_path))
    assert web.asked == []


def test_pixels_decoded_from_a_remote_set_are_those_of_the_local_one(remote, shards, tmp_path):
    pixels = decoded(cached(remote, tmp_path / "a"), 16, 12, tmp_path / "b")
    np.testing.assert_array_equal(pixels, decoded(read_manifest(shards), 16, 12, tmp_path / "c"))


def test_local_shards_are_read_where_they_lie(shards, tmp_path):
    manifest = read_manifest(shards)
    assert cached(manifest, tmp_path) is manifest
    assert list(tmp_path.iterdir()) == []


def test_two_sets_whose_shards_bear_the_same_names_never_mix(web, plain, five_fold, cache):
    serve(web, plain.store.folder, "/train")
    serve(web, five_fold.store.folder, "/val")
    assert {shard.name for shard in plain.shards} == {shard.name for shard in five_fold.shards}
    for path, local in (("/train", plain), ("/val", five_fold)):
        assert all_bytes(cached(read_manifest(web.address + path), cache)) == all_bytes(local)
    assert len(kept(cache)) == 2


def test_the_same_set_at_another_address_is_fetched_once(remote, web, shards, tmp_path):
    all_bytes(cached(remote, tmp_path))
    serve(web, shards, "/copy")
    copy = read_manifest(f"{web.address}/copy")
    web.asked.clear()
    all_bytes(cached(copy, tmp_path))
    assert web.asked == []


@pytest.mark.slow
def test_of_many_processes_one_fetches(remote, web, tmp_path):
    web.asked.clear()
    web.tricks = [slowly]  # delays the first request: the manifest or the shard
    others = [processes.Process(target=fetch, args=(f"{web.address}/set", tmp_path), daemon=True) for _ in range(3)]
    for other in others:
        other.start()
    for other in others:
        other.join(60)
    assert [other.exitcode for other in others] == [0, 0, 0]
    shard = remote.shards[0]
    assert Counter(web.asked)[f"GET /set/{shard.name} 0-{shard.num_bytes - 1}"] == 1


def slowly(request: Any) -> None:
    time.sleep(0.2)
    answer_range(request)


def flipped(request: Any) -> None:
    data = bytearray(request.server.files[request.path])
    data[len(data) // 2] ^= 1
    answer(request, 206, bytes(data), Content_Range=f"bytes 0-{len(data) - 1}/{len(data)}")


def test_a_wrong_byte_is_fetched_again(remote, web, shards, tmp_path):
    web.tricks = [flipped]
    assert all_bytes(cached(remote, tmp_path)) == all_bytes(read_manifest(shards))


def test_a_shard_that_is_another_is_refused_and_nothing_is_kept(remote, web, tmp_path):
    web.tricks = [flipped, flipped]
    with pytest.raises(Error, match=r"\.tar is damaged: its checksum differs from the manifest, fetched twice"):
        cached_shard(remote.store, remote.shards[0], tmp_path)
    assert kept(tmp_path) == []


@pytest.mark.parametrize(
    ("body", "complaint"), [(b"<html>", "holds 6 bytes, but the manifest says"), (None, "is missing")]
)
def test_a_shard_of_another_size_is_refused_unread(remote, web, tmp_path, body, complaint):
    path = f"/set/{remote.shards[0].name}"
    del web.files[path]
    if body:
        web.files[path] = body
    web.asked.clear()
    with pytest.raises(Error, match=complaint):
        cached_shard(remote.store, remote.shards[0], tmp_path)
    assert web.asked == [f"HEAD {path}"]
    assert kept(tmp_path) == []


@pytest.mark.parametrize("sha256", ["", "../../outside", "a" * 63, "A" * 64, "/" * 64])
def test_a_checksum_that_is_none_names_no_place(remote, tmp_path, sha256):
    with pytest.raises(Error, match="has no checksum"):
        cached_shard(remote.store, replace(remote.shards[0], sha256=sha256), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("when", ["before", "while writing"])
def test_a_full_disk_is_one_line_and_leaves_nothing(remote, tmp_path, monkeypatch, when):
    if when == "before":
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    else:

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Error, match=r"\.tar needs .* MB free\. Set SAKUGA_CACHE") as mistake:
        cached_shard(remote.store, remote.shards[0], tmp_path)
    assert "\n" not in str(mistake.value)
    assert kept(tmp_path) == []


def test_a_killed_fetch_leaves_nothing_visible_and_the_next_one_finishes(remote, web, shards, tmp_path):
    shard = remote.shards[0]

    def stall(request: Any) -> None:
        if request.path.endswith(".tar"):
            half = web.files[request.path][: shard.num_bytes // 2]
            headers = {"Content_Range": f"bytes 0-{shard.num_bytes - 1}/{shard.num_bytes}"}
            answer(request, 206, half, length=shard.num_bytes, **headers)
            time.sleep(5)
        else:
            answer_range(request)

    web.tricks = [stall] * 3
    killed = processes.Process(target=fetch, args=(f"{web.address}/set", tmp_path), daemon=True)
    killed.start()
    wait_until(lambda: any(asked.startswith(f"GET /set/{shard.name}") for asked in web.asked))
    os.kill(killed.pid, signal.SIGKILL)
    killed.join()
    assert kept(tmp_path) == [f".{shard.sha256}.building"]
    web.tricks = []
    assert all_bytes(cached(remote, tmp_path)) == all_bytes(read_manifest(shards))
    assert kept(tmp_path) == [shard.sha256]


def wait_until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_quota_takes_the_shard_used_longest_ago_and_its_reader_goes_on(web, plain, five_fold, cache, monkeypatch):
    serve(web, plain.store.folder, "/first")
    serve(web, five_fold.store.folder, "/second")
    first, second = (read_manifest(f"{web.address}/{name}") for name in ("first", "second"))
    room = max(first.shards[0].num_bytes, second.shards[0].num_bytes) + 100
    monkeypatch.setenv("SAKUGA_CACHE_GB", str(room / 1e9))
    reading = cached(first, cache)
    assert read_image(reading, 0) == read_image(plain, 0)
    assert read_image(cached(second, cache), 0) == read_image(five_fold, 0)
    assert kept(cache) == [second.shards[0].sha256]
    web.asked.clear()
    assert all_bytes(reading) == all_bytes(plain)
    assert web.asked == []
    assert read_image(cached(first, cache), 0) == read_image(plain, 0)
    assert kept(cache) == [first.shards[0].sha256]


def test_a_shard_that_others_push_out_before_it_is_opened_is_fetched_again(remote, shards, tmp_path, monkeypatch):
    built: list[Path] = []

    def build_and_lose(target: Path, fill: Callable[[Path], None]) -> Path:
        built.append(build_once(target, fill))
        if len(built) == 1:
            shutil.rmtree(target)
        return target

    monkeypatch.setattr(shard_cache, "build_once", build_and_lose)
    assert all_bytes(cached(remote, tmp_path)) == all_bytes(read_manifest(shards))
    assert len(built) == 2


def test_a_set_larger_than_the_quota_is_refused_before_it_is_fetched(remote, web, tmp_path, monkeypatch):
    monkeypatch.setenv("SAKUGA_CACHE_GB", str(1e-6))
    web.asked.clear()
    with pytest.raises(Error, match=r"The shards of http.* take .* GB, but the cache in .*Increase SAKUGA_CACHE_GB"):
        cached(remote, tmp_path)
    assert web.asked == []


def test_a_cached_store_is_a_store(remote, web, tmp_path):
    store = cached(remote, tmp_path).store
    assert (str(store), store.is_local, store.exists()) == (str(open_store(f"{web.address}/set")), True, True)
    assert store.size("manifest.json") == len(web.files["/set/manifest.json"])
    assert store.read("manifest.json", 2, 5) == web.files["/set/manifest.json"][2:7]
    name = remote.shards[0].name
    assert store.place(name) == f"{web.address}/set/{name}"
    assert copy.deepcopy(store).read(name, 5, 9) == web.files[f"/set/{name}"][5:14]
    with pytest.raises(Error, match="is not a valid file name in"):
        store.read("../x", 0, 1)
    with pytest.raises(Error, match=r"shard\.tar ends after"):
        store.read(name, remote.shards[0].num_bytes - 1, 9)
