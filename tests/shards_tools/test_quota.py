"""The cache stays within its quota and takes nothing from the processes that use it."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from shards_tools.cache import decoded
from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from shards_tools.quota import keep_within_quota, quota_bytes


def fill(folder: Path, name: str, *, num_bytes: int, last_use: int) -> Path:
    place = folder / name
    place.mkdir(parents=True)
    (place / "pixels.npy").write_bytes(bytes(num_bytes))
    os.utime(place, (last_use, last_use))
    return place


def left(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def test_what_was_used_longest_ago_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAKUGA_CACHE_GB", str(250e-9))
    for name, last_use in (("pixels-b", 200), ("pixels-a", 300), ("pixels-c", 100)):
        fill(tmp_path, name, num_bytes=100, last_use=last_use)
    keep_within_quota(tmp_path, used=tmp_path / "pixels-b")
    assert left(tmp_path) == {"pixels-a", "pixels-b"}


def test_using_a_set_makes_it_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAKUGA_CACHE_GB", str(250e-9))
    old = fill(tmp_path, "pixels-old", num_bytes=100, last_use=100)
    keep_within_quota(tmp_path, used=old)
    fill(tmp_path, "pixels-a", num_bytes=100, last_use=200)
    new = fill(tmp_path, "pixels-b", num_bytes=100, last_use=300)
    keep_within_quota(tmp_path, used=new)
    assert left(tmp_path) == {"pixels-old", "pixels-b"}


def test_other_folders_stay_whatever_their_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAKUGA_CACHE_GB", str(50e-9))
    fill(tmp_path, "sample-v1", num_bytes=100, last_use=1)
    used = fill(tmp_path, "pixels-a", num_bytes=100, last_use=2)
    keep_within_quota(tmp_path, used=used)
    assert left(tmp_path) == {"sample-v1", "pixels-a"}


def test_shards_and_pixels_share_the_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAKUGA_CACHE_GB", str(250e-9))
    old, new = "0b" * 32, "aa" * 32
    fill(tmp_path, f"shards/{new}", num_bytes=100, last_use=200)
    fill(tmp_path, f"shards/{old}", num_bytes=100, last_use=100)
    others = {f".{old}.building", "dafre", "0" * 63}  # one being fetched, and folders of other kinds
    for name in others:
        fill(tmp_path, f"shards/{name}", num_bytes=100, last_use=1)
    used = fill(tmp_path, "pixels-a", num_bytes=100, last_use=50)
    keep_within_quota(tmp_path, used=used)
    assert left(tmp_path) == {"shards", "pixels-a"}
    assert left(tmp_path / "shards") == {new, *others}


def test_what_a_killed_process_had_half_removed_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAKUGA_CACHE_GB", str(250e-9))
    for name in ("pixels-old", f"shards/{'0b' * 32}"):
        fill(tmp_path, name, num_bytes=100, last_use=100)
    used = fill(tmp_path, "pixels-new", num_bytes=200, last_use=200)
    with monkeypatch.context() as killed:
        killed.setattr(shutil, "rmtree", lambda *_, **__: None)
        keep_within_quota(tmp_path, used=used)
    assert len([entry for entry in tmp_path.rglob("*.removed") if entry.is_dir()]) == 2
    keep_within_quota(tmp_path, used=used)
    assert left(tmp_path) == {"pixels-new", "shards"}
    assert left(tmp_path / "shards") == set()


def test_pixels_that_went_are_made_again_and_the_old_map_stays_good(
    plain: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAKUGA_CACHE_GB", str(1e-9))
    folder = tmp_path / "cache"
    small = decoded(plain, 8, 8, folder)
    before = np.array(small)
    decoded(plain, 9, 9, folder)
    assert [place.name.split("-")[2] for place in folder.iterdir()] == ["9x9"]
    np.testing.assert_array_equal(small, before)
    np.testing.assert_array_equal(decoded(plain, 8, 8, folder), before)


def test_without_a_setting_the_quota_is_half_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAKUGA_CACHE_GB", raising=False)
    disk = os.statvfs(tmp_path)
    assert quota_bytes(tmp_path) == disk.f_blocks * disk.f_frsize // 2


@pytest.mark.parametrize("text", ["much", "-1", "0", "nan", "inf"])
def test_a_quota_that_is_no_size_is_named(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAKUGA_CACHE_GB", text)
    with pytest.raises(Error, match=f"SAKUGA_CACHE_GB='{text}' is not a number > 0"):
        quota_bytes(tmp_path)
