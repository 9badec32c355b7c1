"""Ends what Ray leaves behind when the driver is killed, and removes what trainings had not handed over yet.

Workers end with their raylet within seconds, but Ray's agents try for a minute to tell a head that is gone. So a
small process waits for the end of the driver and then ends, by process id, what the driver's Ray had started.
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

# What ends by itself may do so, with its files closed.
GRACE_S = 5.0


@contextmanager
def reaped(folder: Path) -> Iterator[None]:
    """While the context lasts, a killed driver takes with it every process that it had started before, and `folder`."""
    family = psutil.Process().children(recursive=True)
    names = "".join(f"{member.pid} {member.create_time()}\n" for member in family if member.is_running())
    reaper = subprocess.Popen(
        [sys.executable, "-m", "platform.cluster.reaper", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C in the terminal is not for it
        text=True,
    )
    assert reaper.stdin is not None
    reaper.stdin.write(names + "\n")
    reaper.stdin.flush()
    try:
        yield
    finally:
        # The driver goes on: nothing is to be ended, Ray shuts itself down.
        reaper.kill()
        reaper.communicate()


def end(names: Iterable[str]) -> None:
    """Kill the processes that are still alive; one that has another's id by now is not one of them."""
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
    sys.stdin.read()  # returns when the driver's end of the pipe is gone
    end(listed)
    shutil.rmtree(sys.argv[1], ignore_errors=True)
