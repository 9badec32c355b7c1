"""A build in several processes, and one that resumes a killed one, give the bytes of an undisturbed build."""

import hashlib
import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from shards_tools import assignment, progress, writer
from shards_tools import build as build_module
from shards_tools.assignment import make_shard
from shards_tools.build import BuildOptions, build
from shards_tools.errors import Error
from shards_tools.sources.lsasrd import scan
from shards_tools.verify import verify
from tests.shards_tools.refusal import bad_pictures

IN_PROCESSES = """
import resource, sys
from shards_tools import __main__, build, command, writer
from tests.shards_tools.refusal import bad_pictures
writer.MAX_SHARD_BYTES, build.IMAGES_PER_PROCESS = 20_000, 1
build.num_cpus = lambda: {num_processes}
command.run(lambda _: __main__.main(sys.argv[1:]))
"""


def bytes_of(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def building(tree: Path, out: Path, num_processes: int, **settings) -> subprocess.Popen:
    """Run the build command in a process of its own, with shards of at most 20 kB."""
    line = [sys.executable, "-c", IN_PROCESSES.format(num_processes=num_processes), "build", "lsasrd", str(tree)]
    return subprocess.Popen([*line, "--out", str(out)], stderr=subprocess.PIPE, text=True, **settings)


@pytest.fixture
def small_shards(monkeypatch):
    """Shards of at most 20 kB, written by this process."""
    monkeypatch.setattr(writer, "MAX_SHARD_BYTES", 20_000)
    monkeypatch.setattr(build_module, "num_cpus", lambda: 1)


@pytest.fixture
def undisturbed(plain_tree, tmp_path, small_shards) -> dict[str, str]:
    """The files of an undisturbed build."""
    build(scan(plain_tree), tmp_path / "undisturbed")
    return bytes_of(tmp_path / "undisturbed")


def interrupt_after(num_shards: int, tree: Path, out: Path, monkeypatch) -> Path:
    """Interrupt a build with Ctrl-C after some shards, and return the folder that it leaves."""
    made = []

    def make_or_stop(job):
        if len(made) == num_shards:
            with writer.ShardWriter(Path(job["path"])) as half:
                half.add("half", "jpg", b"written", 0)
                raise KeyboardInterrupt
        made.append(make_shard(job))
        return made[-1]

    monkeypatch.setattr(build_module, "make_shard", make_or_stop)
    with pytest.raises(KeyboardInterrupt):
        build(scan(tree), out)
    monkeypatch.setattr(build_module, "make_shard", make_shard)
    assert not out.exists()
    return out.with_name(f".{out.name}.building")


def resume(tree: Path, out: Path, monkeypatch) -> list[str]:
    """Build, and return the names of the shards that are written."""
    opened = []

    class CountingWriter(writer.ShardWriter):
        def __init__(self, path: Path) -> None:
            opened.append(path.name)
            super().__init__(path)

    monkeypatch.setattr(assignment, "ShardWriter", CountingWriter)
    build(scan(tree), out)
    return opened


@pytest.mark.integration
@pytest.mark.parametrize("num_processes", [1, 2, 3])
def test_the_number_of_processes_changes_no_byte(num_processes, undisturbed, plain_tree, tmp_path, monkeypatch):
    monkeypatch.setattr(build_module, "IMAGES_PER_PROCESS", 1)
    monkeypatch.setattr(build_module, "num_cpus", lambda: num_processes)
    others = psutil.Process().children()  # multiprocessing keeps one of its own after other tests
    build(scan(plain_tree), tmp_path / "out")
    assert len(undisturbed) > 7
    assert bytes_of(tmp_path / "out") == undisturbed
    assert psutil.Process().children() == others


def test_a_build_killed_in_its_processes_goes_on_and_equals_an_undisturbed_one(plant, tmp_path):
    tree = plant({"train": {f"JP{n:04d}": range(10) for n in range(5)}}, 10)
    with building(tree, tmp_path / "undisturbed", 1) as whole:
        assert whole.wait(60) == 0
    killed = building(tree, tmp_path / "out", 3)
    room = tmp_path / ".out.building"
    while len(list(room.glob("shard-*.json"))) < 5:
        assert killed.poll() is None
        time.sleep(0.002)
    processes = psutil.Process(killed.pid).children()
    assert len(processes) == 3
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    finished = {entry.stem: entry.with_suffix(".tar").stat().st_ino for entry in room.glob("shard-*.json")}
    assert not (tmp_path / "out").exists()
    with building(tree, tmp_path / "out", 2) as again:
        assert again.wait(60) == 0
        assert "shards from an unfinished build" in again.stderr.read()
    killed.stderr.close()
    assert psutil.wait_procs(processes, timeout=5)[1] == []
    assert {name: (tmp_path / f"out/{name}.tar").stat().st_ino for name in finished} == finished
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "undisturbed")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source", "undisturbed"]


def test_after_ctrl_c_only_the_missing_shards_are_written(undisturbed, plain_tree, tmp_path, monkeypatch):
    room = interrupt_after(2, plain_tree, tmp_path / "out", monkeypatch)
    assert sorted(path.name for path in room.iterdir()) == [
        "shard-00000.json",
        "shard-00000.tar",
        "shard-00001.json",
        "shard-00001.tar",
        "shard-00002.tar",
    ]
    written = resume(plain_tree, tmp_path / "out", monkeypatch)
    assert written == [name for name in undisturbed if name.endswith(".tar")][2:]
    assert bytes_of(tmp_path / "out") == undisturbed
    verify(tmp_path / "out", "deep")


def test_a_finished_shard_that_was_damaged_is_written_again(undisturbed, plain_tree, tmp_path, monkeypatch):
    room = interrupt_after(4, plain_tree, tmp_path / "out", monkeypatch)
    damaged = bytearray((room / "shard-00001.tar").read_bytes())
    damaged[700] ^= 1
    (room / "shard-00001.tar").write_bytes(damaged)
    (room / "shard-00000.tar").unlink()
    (room / "shard-00003.json").write_text("{")
    written = resume(plain_tree, tmp_path / "out", monkeypatch)
    assert [name for name in written if name < "shard-00004"] == [f"shard-0000{n}.tar" for n in (0, 1, 3)]
    assert bytes_of(tmp_path / "out") == undisturbed


@pytest.mark.parametrize("change", ["time", "bytes", "label", "path"])
def test_a_shard_whose_images_changed_is_written_again(change, undisturbed, plain_tree, tmp_path, monkeypatch):
    room = interrupt_after(2, plain_tree, tmp_path / "out", monkeypatch)
    name = json.loads((room / "shard-00001.json").read_text())["shard"]["name"]
    rows = next(job for job in jobs_of(plain_tree, monkeypatch, tmp_path) if job["path"].endswith(name))["rows"]
    image = Path(rows[0][0])
    tree = plain_tree
    if change == "time":
        os.utime(image, ns=(0, image.stat().st_mtime_ns + 1))
    elif change == "bytes":
        times = image.stat()
        image.write_bytes(image.read_bytes() + b"\n")
        os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))
    elif change == "label":  # every later work gets another number
        first = plain_tree / "ASRD/train/AA0000/0001"
        first.mkdir(parents=True)
        shutil.copy(image, first / f"AA0000_0001_01{image.suffix}")
    else:
        tree = plain_tree.rename(tmp_path / "elsewhere")
    written = resume(tree, tmp_path / "out", monkeypatch)
    assert name in written
    assert ("shard-00000.tar" in written) == (change in ("label", "path"))
    build(scan(tree), tmp_path / "expected", BuildOptions(allow_duplicates=True))
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "expected")
    assert (bytes_of(tmp_path / "out") == undisturbed) == (change in ("time", "path"))


def jobs_of(tree: Path, monkeypatch, tmp_path: Path) -> list[dict]:
    """Return the assignments of a build, from one that stops before it is done."""
    jobs = []

    def make_and_tell(job):
        jobs.append(job)
        return make_shard(job)

    with monkeypatch.context() as patch:
        patch.setattr(build_module, "make_shard", make_and_tell)
        build(scan(tree), tmp_path / "for its jobs")
    return jobs


def test_what_another_source_left_is_cleared_away(undisturbed, plain_tree, five_fold_tree, tmp_path, monkeypatch):
    room = interrupt_after(4, five_fold_tree, tmp_path / "out", monkeypatch)
    (room / "shard-99999.tar").write_text("beyond the last one")
    (room / "manifest.json").write_text("{}")
    (room / "ASRD/train").mkdir(parents=True)
    (room / "link").symlink_to(plain_tree)
    (room / "shard-00005.tar").symlink_to(plain_tree / "ASRD")
    build(scan(plain_tree), tmp_path / "out")
    assert bytes_of(tmp_path / "out") == undisturbed
    assert (plain_tree / "ASRD/train").is_dir()


@pytest.mark.parametrize("num_processes", [1, 2])
def test_a_broken_image_ends_a_build_in_one_line(num_processes, plain_tree, tmp_path):
    broken = plain_tree / "ASRD/test/US0003/0004/US0003_0004_01.jpg"
    broken.write_bytes(broken.read_bytes()[:150])
    with building(plain_tree, tmp_path / "out", num_processes) as failing:
        said = failing.communicate()[1]
    assert failing.returncode == 2
    assert said.startswith(f"error: The source has 1 broken image. {broken} is a broken image (JPEG: ")
    assert said.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.building", "out-problems.csv", "source"]


@pytest.mark.parametrize("num_processes", [1, 2])
def test_a_full_disk_is_named_and_nothing_is_left(num_processes, plain_tree, tmp_path):
    """A limit on the file size replaces the full disk: writing fails in the same place."""
    limits = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))}
    with building(plain_tree, tmp_path / "out", num_processes, **limits) as failing:
        said = failing.communicate()[1]
    assert failing.returncode == 2, said
    assert said.startswith(f"error: {tmp_path / 'out'} cannot be written: File too large. Free space")
    assert said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_an_image_that_cannot_be_read_is_named(plain_tree, tmp_path):
    source = scan(plain_tree)
    source.images[3].path.unlink()
    (problem,) = bad_pictures(source, tmp_path / "out")
    assert problem == (source.images[3].path, "missing", "is missing: No such file or directory")


def test_an_image_that_changes_during_the_build_is_named(plain_tree, tmp_path, monkeypatch):
    source = scan(plain_tree)
    changed = source.images[3].path

    def change_first(job):
        changed.write_bytes(changed.read_bytes() + b"\n")
        return make_shard(job)

    monkeypatch.setattr(build_module, "make_shard", change_first)
    with pytest.raises(Error, match=f"{changed} changed during the build"):
        build(source, tmp_path / "out")


def test_a_long_build_says_how_far_it_is(plain_tree, tmp_path, small_shards, monkeypatch, caplog):
    monkeypatch.setattr(progress, "LINE_S", 0.0)
    # An earlier command may have called `show_log`, which hides the records from pytest.
    monkeypatch.setattr(logging.getLogger("shards_tools"), "propagate", True)
    monkeypatch.setattr(logging.getLogger("shards_tools"), "handlers", [])
    caplog.set_level(logging.INFO, "shards_tools")
    manifest = build(scan(plain_tree), tmp_path / "out")
    counts = [shard.num_samples for shard in manifest.shards]
    said = [message.partition(" images")[0] for message in caplog.messages]
    assert said == [f"building: {sum(counts[:n])} of 48" for n in range(1, len(counts))]
