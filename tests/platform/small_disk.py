"""A disk of the tests' own, which can be filled up."""

import contextlib
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted_disk(folder: Path, megabytes: int, num_files: int = 0) -> Iterator[Path]:
    """A disk of its own in `folder`, for at most `num_files` files (0: any number); skips where it cannot be had."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,nr_inodes={num_files}", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting a disk of its own needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """A file that takes all the room there is."""
    path = disk / "filler"
    with contextlib.suppress(OSError), open(path, "ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return path


def use_up_inodes(disk: Path) -> Path:
    """A folder of as many empty files as the disk takes."""
    folder = disk / "many"
    folder.mkdir()
    with contextlib.suppress(OSError):
        for number in itertools.count():
            (folder / str(number)).touch()
    return folder


class PowerlessDisk:
    """An ext4 file system in a file, from which the power can be taken; skips where it cannot be had.

    After the failure it holds what was written to the disk before, and nothing of what waited in memory.
    """

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.image, self.place = folder / "disk.img", folder / "disk"
        self.place.mkdir()
        with open(self.image, "wb") as file:
            file.truncate(megabytes * 2**20)
        if os.getuid() != 0 or not shutil.which("mkfs.ext4"):
            pytest.skip("making a file system needs root and mkfs.ext4")
        subprocess.run(["mkfs.ext4", "-q", self.image], check=True)
        if subprocess.run(self._mount(), check=False, capture_output=True).returncode != 0:
            pytest.skip("mounting a file needs loop devices")

    def fail(self) -> None:
        """Let nothing more reach the disk; every later write is an error."""
        subprocess.run(["mount", "-o", "remount,abort", self.place], check=True)

    def restore(self) -> None:
        """Mount it again, once no process uses it."""
        subprocess.run(["umount", self.place], check=True)
        subprocess.run(self._mount(), check=True)

    def remove(self) -> None:
        """Unmount it and delete its file."""
        subprocess.run(["umount", "--lazy", self.place], check=True)
        self.image.unlink()

    def _mount(self) -> list[str | Path]:
        # Without delayed allocation a file would reach the disk sooner than on most machines.
        return ["mount", "-o", "loop,commit=30", self.image, self.place]
