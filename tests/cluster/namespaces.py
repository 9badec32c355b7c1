"""A network and processes of their own: nothing of what runs there is seen or left outside."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

ALONE = ("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
LONGEST_START_S = 240


@contextmanager
def namespace(
    script: str, ready: str, folder: Path, environment: Mapping[str, str], probe: str = "ip link set lo up"
) -> Iterator["subprocess.Popen[bytes]"]:
    """The process of a shell script that runs alone, once it has said `ready`; at the end nothing of it is left.

    Args:
        folder: where the script starts, and where what it says is kept.
        probe: what this user and this kernel must be able to do; else the test is skipped.
    """
    missing = [tool for tool in ("unshare", "nsenter", "ip", "ray") if not shutil.which(tool, path=search_path())]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}, which a private network namespace needs")
    if subprocess.run([*ALONE, "sh", "-ec", probe], check=False, capture_output=True).returncode:
        pytest.skip(f"this user may not run this in a network namespace: {probe}")
    log = folder / "namespace.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*ALONE, "sh", "-c", script],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    family: list[psutil.Process] = []
    try:
        deadline = time.monotonic() + LONGEST_START_S
        while ready not in log.read_text(errors="replace"):
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.2)
        yield process
        family = members_of(process)
    finally:
        process.kill()
        process.wait()
    assert psutil.wait_procs(family, timeout=60)[1] == []


def entering(process: "subprocess.Popen[bytes]") -> list[str]:
    """What a command line begins with that runs in the namespace of such a process."""
    first = psutil.Process(process.pid).children()[0]
    return ["nsenter", "--target", str(first.pid), "--net", "--pid", "--mount"]


def members_of(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """Every process of the namespace, also those that entered it later."""
    first = psutil.Process(process.pid).children()[0]
    return [member for member in psutil.process_iter() if _namespace_of(member, "pid") == _namespace_of(first, "pid")]


def members_of_network(process: "subprocess.Popen[bytes]", network: str) -> list[psutil.Process]:
    """Those of them that are in the network namespace of this number."""
    return [member for member in members_of(process) if _namespace_of(member, "net") == network]


def _namespace_of(process: psutil.Process, kind: str) -> str:
    try:
        return str(os.stat(f"/proc/{process.pid}/ns/{kind}").st_ino)
    except OSError:
        return ""  # it has just ended


def search_path() -> str:
    """The commands of this environment first: a job runs the `python` that the head finds."""
    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"


def names_of(process: psutil.Process) -> str:
    """The command line of a process; empty where it has just ended."""
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""
