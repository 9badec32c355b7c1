"""Ends the processes that Ray leaves behind when the driver is killed, and removes the trainings' temporary files.

Workers end with their raylet within seconds, but Ray's agents try for a minute to reach a head that is gone. So a small
process waits for the end of the driver and then ends, by process id, the processes that the driver's Ray had started.
"""

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

# Time for processes to end by themselves and close their files.
GRACE_S = 5.0


@contextmanager
def reaped(folder: Path) -> Iterator[None]:
    """If the driver is killed inside the context, end the processes that it had started before, and remove `folder`."""
    family = psutil.Process().children(recursive=True)
    names = "".join(f"{member.pid} {member.create_time()}\n" for member in family if member.is_running())
    reaper = subprocess.Popen(
        [sys.executable, "-m", "platform.cluster.reaper", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # so that Ctrl-C in the terminal does not reach it
        text=True,
    )
    assert reaper.stdin is not None
    reaper.stdin.write(names + "\n")
    reaper.stdin.flush()
    try:
        yield
    finally:
        # The driver is alive: Ray shuts down by itself.
        reaper.kill()
        reaper.communicate()


def end(names: Iterable[str]) -> None:
    """Wait for the processes to end, then kill those that are still alive.

    Args:
        names: the process id and the creation time of each; a process that got the same id later is left alone.
    """
    deadline = time.monotonic() + GRACE_S
    members = [member for member in map(_same_process, names) if member]
    while members and time.monotonic() < deadline:
        time.sleep(0.2)
        members = [member for member in members if member.is_running()]
    for member in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()


def _same_process(name: str) -> psutil.Process | None:
    pid, created = name.split()
    try:
        process = psutil.Process(int(pid))
        return process if process.create_time() == float(created) else None
    except psutil.NoSuchProcess:
        return None


if __name__ == "__main__":
    lines = iter(sys.stdin.readline, "\n")
    listed = list(lines)
    sys.stdin.read()  # returns when the driver's end of the pipe is closed
    end(listed)
    shutil.rmtree(sys.argv[1], ignore_errors=True)
