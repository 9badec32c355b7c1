"""A local folder: its files by name, kept open, and no file outside it."""

import copy
import os
import sys
import threading
from pathlib import Path

import pytest

from shards_tools.errors import Error
from shards_tools.stores import local
from shards_tools.stores.local import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """A folder of twenty files; number n holds 100 bytes of n."""
    folder = tmp_path / "set"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number}.tar").write_bytes(bytes([number]) * 100)
    (tmp_path / "secret").write_bytes(b"secret")
    return LocalStore(folder)


def num_open(folder: Path) -> int:
    """Count the descriptors of this process that are files of the folder."""
    if sys.platform != "linux":
        pytest.skip("/proc lists the descriptors, on Linux alone")
    links = [Path("/proc/self/fd") / number for number in os.listdir("/proc/self/fd")]
    return sum(os.path.realpath(link).startswith(f"{folder}/") for link in links)


def test_pieces_are_read(store):
    (store.folder / "a.tar").write_bytes(bytes(range(100)))
    assert store.read("a.tar", 10, 5) == bytes(range(10, 15))
    assert store.read("a.tar", 0, 100) == bytes(range(100))
    assert (store.size("a.tar"), store.size("b.tar")) == (100, None)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret", "", ".", "..", "a\x00", "1.tar\n"])
def test_a_name_that_leads_elsewhere_is_refused(store, name):
    for ask in (store.size, lambda name: store.read(name, 0, 1)):
        with pytest.raises(Error, match="is not a valid file name in") as mistake:
            ask(name)
        assert "\n" not in str(mistake.value)


def test_an_end_that_comes_early_and_a_file_that_is_not_there_are_named(store):
    with pytest.raises(Error, match=r"3\.tar ends after 100 bytes, but 101 were expected"):
        store.read("3.tar", 90, 11)
    with pytest.raises(Error, match=r"x\.tar cannot be read: No such file"):
        store.read("x.tar", 0, 1)
    (store.folder / "folder").mkdir()
    with pytest.raises(Error, match=r"folder cannot be read: Is a directory"):
        store.read("folder", 0, 1)


def test_files_stay_open_up_to_a_bound_and_close_with_the_store(store, monkeypatch):
    monkeypatch.setattr(local, "MAX_OPEN", 8)
    folder = store.folder
    for _ in range(3):
        for number in range(20):
            assert store.read(f"{number}.tar", 50, 1) == bytes([number])
            assert 1 <= num_open(folder) <= 8
    assert num_open(folder) == 8
    del store
    assert num_open(folder) <= 8  # the fixture holds the store


def test_the_last_reader_closes(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"a")
    store = LocalStore(tmp_path)
    store.read("a.tar", 0, 1)
    assert num_open(tmp_path) == 1
    del store
    assert num_open(tmp_path) == 0


def test_threads_that_push_each_other_out_read_the_right_file(store, monkeypatch):
    monkeypatch.setattr(local, "MAX_OPEN", 2)
    wrong: list[int] = []

    def read_all(first: int) -> None:
        for step in range(1500):
            number = (first + 7 * step) % 20
            if store.read(f"{number}.tar", step % 90, 10) != bytes([number]) * 10:
                wrong.append(number)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=read_all, args=(first,)) for first in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert wrong == []


# Python 3.12 warns about forks; the child only reads and exits at once.
@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_reads_the_same_files(store):
    store.read("1.tar", 0, 1)
    child = os.fork()
    if child == 0:
        os._exit(0 if store.read("1.tar", 5, 5) == bytes([1]) * 5 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert store.read("1.tar", 5, 5) == bytes([1]) * 5


def test_a_copy_reads_too(store):
    store.read("1.tar", 0, 1)
    assert copy.deepcopy(store).read("1.tar", 5, 5) == bytes([1]) * 5
