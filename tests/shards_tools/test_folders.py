"""Folders appear complete or not at all, even if a process is killed or several build at once."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from shards_tools.errors import Error
from shards_tools.folders import build_new, build_once, write_durably

processes = multiprocessing.get_context("spawn")


def write_one(room: Path) -> None:
    (room / "one").write_text("1")


def write_slowly(room: Path) -> None:
    with open(room.parent / "builders", "a") as builders:
        builders.write(f"{os.getpid()}\n")
    (room / "one").write_text("1")
    time.sleep(0.5)
    (room / "two").write_text("2")


def write_for_ever(room: Path) -> None:
    (room / "half").write_text("half")
    time.sleep(600)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)


def test_another_process_may_remove_the_locked_folder_at_any_moment(tmp_path, monkeypatch):
    room = tmp_path / ".out.building"
    room.mkdir()
    make = os.mkdir

    def removed_meanwhile(path, *args):
        try:
            make(path, *args)
        except FileExistsError:
            if Path(path) == room:
                room.rmdir()
            raise

    monkeypatch.setattr(os, "mkdir", removed_meanwhile)
    build_new(tmp_path / "out", write_one)
    assert names(tmp_path) == ["out"]


def test_a_new_folder_is_there_when_it_is_full(tmp_path):
    build_new(tmp_path / "deep/out", write_one)
    assert names(tmp_path / "deep") == ["out"]
    assert names(tmp_path / "deep/out") == ["one"]


def test_an_empty_folder_is_taken_and_a_full_one_refused(tmp_path):
    (tmp_path / "out").mkdir()
    build_new(tmp_path / "out", write_one)
    with pytest.raises(Error, match="out exists and is not empty"):
        build_new(tmp_path / "out", write_one)
    with pytest.raises(Error, match="one exists and is not a folder"):
        build_new(tmp_path / "out/one", write_one)


@pytest.mark.parametrize("build", [build_new, build_once])
def test_a_failing_build_leaves_nothing(tmp_path, build):
    def fail(room: Path) -> None:
        write_one(room)
        raise Error("broken")

    with pytest.raises(Error, match="broken"):
        build(tmp_path / "out", fail)
    assert names(tmp_path) == []


def test_a_killed_build_leaves_nothing_visible_and_the_next_one_clears_up(tmp_path):
    out = tmp_path / "out"
    builder = processes.Process(target=build_new, args=(out, write_for_ever), daemon=True)
    builder.start()
    wait_for(tmp_path / ".out.building/half")
    with pytest.raises(Error, match="is being built by another process"):
        build_new(out, write_one)
    os.kill(builder.pid, signal.SIGKILL)
    builder.join()
    assert names(tmp_path) == [".out.building"]
    build_new(out, write_one)
    assert names(tmp_path) == ["out"]
    assert names(out) == ["one"]


def test_of_many_that_want_the_same_folder_one_builds_it(tmp_path):
    out = tmp_path / "out"
    builders = [processes.Process(target=build_once, args=(out, write_slowly), daemon=True) for _ in range(4)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join(60)
    assert [builder.exitcode for builder in builders] == [0, 0, 0, 0]
    assert len((tmp_path / "builders").read_text().split()) == 1
    assert names(tmp_path) == ["builders", "out"]
    assert names(out) == ["one", "two"]


def test_who_waits_for_a_killed_builder_builds_itself(tmp_path):
    out = tmp_path / "out"
    killed = processes.Process(target=build_once, args=(out, write_for_ever), daemon=True)
    killed.start()
    wait_for(tmp_path / ".out.building/half")
    waiting = processes.Process(target=build_once, args=(out, write_slowly), daemon=True)
    waiting.start()
    time.sleep(0.3)
    os.kill(killed.pid, signal.SIGKILL)
    killed.join()
    waiting.join(60)
    assert waiting.exitcode == 0
    assert names(out) == ["one", "two"]


def test_a_file_is_replaced_in_one_step(tmp_path):
    write_durably(tmp_path / "file", b"old")
    write_durably(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_that_is_planted_where_we_write_is_refused_and_its_target_stays(tmp_path: Path, exists: bool) -> None:
    victim = tmp_path / "victim"
    if exists:
        victim.mkdir()
        (victim / "precious").write_text("kept")
    (tmp_path / ".new.building").symlink_to(victim)
    (tmp_path / ".file.writing").symlink_to(victim / "precious")
    for write in (
        lambda: build_new(tmp_path / "new", write_one),
        lambda: build_once(tmp_path / "new", write_one),
        lambda: write_durably(tmp_path / "file", b"new"),
    ):
        with pytest.raises(Error, match=r"\.(new\.building|file\.writing) is a link to .*Remove the link"):
            write()
    assert not exists or (victim / "precious").read_text() == "kept"
    assert names(tmp_path) == sorted([".file.writing", ".new.building", *(["victim"] if exists else [])])
