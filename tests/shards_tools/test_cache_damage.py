"""Decoded pixels that are missing, damaged or others are noticed at the next start and made again, in one line."""

import logging
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shards_tools import cache, checksums
from shards_tools.cache import PIXELS_NAME, decoded, is_decoded
from shards_tools.checksums import CHECKSUMS_NAME, damage_of, write_checksums
from shards_tools.errors import Error
from shards_tools.folders import discard
from shards_tools.manifest import Manifest
from shards_tools.manifest_file import read_manifest
from tests.platform.small_disk import mounted_disk

processes = multiprocessing.get_context("spawn")
Deed = Callable[[Path], object]


def purge(place: Path) -> None:
    for file in place.iterdir():
        file.unlink()


def cut(place: Path) -> None:
    os.truncate(place / PIXELS_NAME, 500)


def flip_a_bit(place: Path) -> None:
    data = bytearray((place / PIXELS_NAME).read_bytes())
    data[-1] ^= 1
    (place / PIXELS_NAME).write_bytes(data)


def replace_pixels(place: Path) -> None:
    np.save(place / PIXELS_NAME, 255 - np.load(place / PIXELS_NAME))


def link_elsewhere(place: Path) -> None:
    other = place.parent.parent / "other.npy"
    np.save(other, 255 - np.load(place / PIXELS_NAME))
    (place / PIXELS_NAME).unlink()
    (place / PIXELS_NAME).symlink_to(other)


def put_a_pipe(place: Path) -> None:
    (place / PIXELS_NAME).unlink()
    os.mkfifo(place / PIXELS_NAME)


def put_a_file(place: Path) -> None:
    shutil.rmtree(place)
    place.write_bytes(b"")


def put_a_link_to_nowhere(place: Path) -> None:
    shutil.rmtree(place)
    place.symlink_to("/nowhere")


DEEDS: dict[str, Deed] = {
    "purged": lambda place: os.remove(place / PIXELS_NAME),
    "checksums purged": lambda place: os.remove(place / CHECKSUMS_NAME),
    "everything purged": purge,
    "cut": cut,
    "emptied": lambda place: os.truncate(place / PIXELS_NAME, 0),
    "one bit": flip_a_bit,
    "other pixels": replace_pixels,
    "a link": link_elsewhere,
    "a pipe": put_a_pipe,
    "a file": put_a_file,
    "a link to nowhere": put_a_link_to_nowhere,
    "damaged checksums": lambda place: (place / CHECKSUMS_NAME).write_text('{"owner": [1'),
    "foreign checksums": lambda place: (place / CHECKSUMS_NAME).write_text('{"owner": 1, "num_bytes": -1}'),
}


def place_of(folder: Path) -> Path:
    (place,) = folder.glob("pixels-*")
    return place


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
def test_damaged_pixels_are_rebuilt_and_reported_once(deed: Deed, plain: Manifest, tmp_path: Path, caplog) -> None:
    folder = tmp_path / "cache"
    before = np.array(decoded(plain, 8, 8, folder))
    assert lines(caplog) == []
    deed(place_of(folder))
    np.testing.assert_array_equal(decoded(plain, 8, 8, folder), before)
    (line,) = lines(caplog)
    assert "checksum" in line
    assert "rebuilt" in line
    assert str(place_of(folder)) in line
    assert "\n" not in line
    caplog.clear()
    np.testing.assert_array_equal(decoded(plain, 8, 8, folder), before)
    assert lines(caplog) == []
    assert [entry.name for entry in folder.iterdir()] == [place_of(folder).name]


def test_pixels_of_another_set_under_this_sets_name_are_rebuilt(
    plain: Manifest, five_fold: Manifest, tmp_path: Path, caplog
) -> None:
    before = np.array(decoded(plain, 8, 8, tmp_path / "cache"))
    decoded(five_fold, 8, 8, tmp_path / "other")
    place = place_of(tmp_path / "cache")
    shutil.rmtree(place)
    shutil.copytree(place_of(tmp_path / "other"), place)
    np.testing.assert_array_equal(decoded(plain, 8, 8, tmp_path / "cache"), before)
    assert "holds the images of another folder" in lines(caplog)[0]


def test_pixels_that_are_damaged_again_at_once_are_an_error(
    plain: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shards_tools.cache.write_checksums", lambda file, owner: None)
    with pytest.raises(Error, match=r"do not match their checksum right after .* Set SAKUGA_CACHE"):
        decoded(plain, 8, 8, tmp_path / "cache")


def test_a_map_of_purged_pixels_can_be_read_while_they_are_rebuilt(plain: Manifest, tmp_path: Path) -> None:
    mapped = decoded(plain, 8, 8, tmp_path / "cache")
    before = np.array(mapped)
    (place_of(tmp_path / "cache") / PIXELS_NAME).unlink()
    np.testing.assert_array_equal(decoded(plain, 8, 8, tmp_path / "cache"), before)
    np.testing.assert_array_equal(mapped, before)


def test_a_folder_without_pixels_does_not_count_as_decoded(
    plain: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAKUGA_CACHE", str(tmp_path / "cache"))
    assert not is_decoded(plain, 8, 8)
    decoded(plain, 8, 8)
    assert is_decoded(plain, 8, 8)
    (place_of(tmp_path / "cache") / PIXELS_NAME).unlink()
    assert not is_decoded(plain, 8, 8)


def test_pixels_that_another_process_rebuilds_first_are_taken(
    plain: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    """Two find the damage, and the second one gets the lock of the build when the first one is done."""
    folder = tmp_path / "cache"
    before = np.array(decoded(plain, 8, 8, folder))
    flip_a_bit(place_of(folder))
    rebuilt: list[int] = []

    def after_another_process(target: Path, is_damaged: Callable[[], bool]) -> bool:
        monkeypatch.setattr(cache, "discard", discard)
        decoded(plain, 8, 8, folder)
        rebuilt.append(target.stat().st_ino)
        return discard(target, is_damaged)

    monkeypatch.setattr(cache, "discard", after_another_process)
    np.testing.assert_array_equal(decoded(plain, 8, 8, folder), before)
    assert [place_of(folder).stat().st_ino] == rebuilt
    assert len(lines(caplog)) == 1


def decode_and_note(shards: Path, folder: Path, notes: Path, begin: float) -> None:
    told: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("shards_tools").addHandler(handler)
    manifest = read_manifest(shards)
    time.sleep(max(0.0, begin - time.time()))
    pixels = np.array(decoded(manifest, 8, 8, folder))
    (notes / f"{os.getpid()}-{len(told)}").write_bytes(pixels.tobytes())


@pytest.mark.slow
def test_of_processes_that_find_the_damage_at_once_one_rebuilds(plain: Manifest, tmp_path: Path) -> None:
    folder, notes = tmp_path / "cache", tmp_path / "notes"
    notes.mkdir()
    before = np.array(decoded(plain, 8, 8, folder)).tobytes()
    flip_a_bit(place_of(folder))
    arguments = (plain.store.folder, folder, notes, time.time() + 5)
    readers = [processes.Process(target=decode_and_note, args=arguments, daemon=True) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(60)
    assert [reader.exitcode for reader in readers] == [0, 0, 0, 0]
    assert {note.read_bytes() for note in notes.iterdir()} == {before}
    assert sorted(note.name.split("-")[1] for note in notes.iterdir()) == ["0", "0", "0", "1"]
    assert [entry.name for entry in folder.iterdir()] == [place_of(folder).name]


DECODE_ON_A_DISK_THAT_SEEMS_FREE = """
import shutil, sys
from collections import namedtuple
from pathlib import Path
from shards_tools.cache import decoded
from shards_tools.errors import Error
from shards_tools.manifest_file import read_manifest
manifest = read_manifest(sys.argv[1])
usage = shutil.disk_usage
shutil.disk_usage = lambda folder: usage(folder)._replace(free=10**9)
try:
    decoded(manifest, 128, 128, Path(sys.argv[2]))
except Error as mistake:
    print(mistake)
"""


@pytest.mark.slow
def test_a_disk_that_fills_up_before_the_images_are_decoded_is_one_line(plain: Manifest, tmp_path: Path) -> None:
    """Another process may fill the disk after the check; without blocks of its own the map would be a SIGBUS."""
    with mounted_disk(tmp_path / "disk", 1) as disk:
        command = [sys.executable, "-c", DECODE_ON_A_DISK_THAT_SEEMS_FREE, plain.store.folder, disk / "cache"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        assert "The decoded images need 0.0 GB" in done.stdout
        assert "Set SAKUGA_CACHE" in done.stdout
        assert done.stdout.count("\n") == 1
        assert list((disk / "cache").iterdir()) == []


@pytest.fixture
def large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with checksums of 100 blocks, of which a start checks five."""
    for name, value in (("BLOCK_BYTES", 64), ("WHOLE_BYTES", 1000), ("SAMPLED_BLOCKS", 5)):
        monkeypatch.setattr(checksums, name, value)
    file = tmp_path / "large"
    file.write_bytes(np.random.default_rng(0).bytes(6_390))
    write_checksums(file, "owner")
    return file


def damage(file: Path, block: int) -> None:
    data = bytearray(file.read_bytes())
    data[64 * block + 3] ^= 1
    file.write_bytes(data)


def test_a_large_file_is_checked_completely_once_per_day(large_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damage(large_file, 99)
    found = [damage_of(large_file, "owner") for _ in range(2_000)]
    assert 20 < found.count("1 of 5 blocks differ") < 180, "five blocks of 100 are drawn at every start"
    assert set(found) == {None, "1 of 5 blocks differ"}
    assert damage_of(large_file, "owner", complete=True) == "1 of 100 blocks differ"
    tomorrow = time.time() + 24 * 3600 + 60
    monkeypatch.setattr(time, "time", lambda: tomorrow)
    assert [damage_of(large_file, "owner") for _ in range(3)] == 3 * ["1 of 100 blocks differ"]
    damage(large_file, 99)  # flips the bit back
    assert damage_of(large_file, "owner") is None
    damage(large_file, 99)
    assert None in [damage_of(large_file, "owner") for _ in range(100)], "it was just checked completely"


def test_each_node_checks_a_large_file_itself(large_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damage(large_file, 7)
    other = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "other-node", *other[2:])))
    assert damage_of(large_file, "owner") == "1 of 100 blocks differ"


def test_a_clock_that_was_set_back_makes_no_check_count_as_done(
    large_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(large_file, 7)
    earlier = time.time() - 3600
    monkeypatch.setattr(time, "time", lambda: earlier)
    assert damage_of(large_file, "owner") == "1 of 100 blocks differ"


def test_checks_of_nodes_that_left_are_forgotten(large_file: Path) -> None:
    old = large_file.with_name("checked-by-a-container-of-yesterday")
    old.touch()
    os.utime(old, (1, 1))
    damage_of(large_file, "owner", complete=True)
    assert not old.exists()


def test_other_random_numbers_are_left_alone(large_file: Path) -> None:
    import random

    random.seed(1)
    expected = random.Random(1).random()
    damage_of(large_file, "owner")
    assert random.random() == expected
