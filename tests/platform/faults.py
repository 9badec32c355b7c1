"""What machines do to a search."""

import contextlib
import mmap
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.platform.driver import family_of, wait_until
from tests.platform.small_disk import fill
from tests.platform.storm import TERMINATED, Fault, Storm

CGROUPS = Path("/sys/fs/cgroup/memory")
MEMORY_LIMIT = 2**20  # bytes


def kill_driver(storm: Storm) -> None:
    storm.search.kill()
    storm.until_it_ends()


def interrupt(storm: Storm) -> None:
    os.killpg(storm.search.pid, signal.SIGINT)  # as a terminal does: to every process in the foreground
    storm.until_it_ends()


def kill_training(storm: Storm) -> None:
    if training := storm.training():
        with contextlib.suppress(psutil.NoSuchProcess):
            training.kill()


def take_memory_away(storm: Storm) -> None:
    """Have the kernel kill the training for lack of memory, or send its signal if it has no such limits."""
    training = storm.training()
    if training is None:
        return
    with contextlib.suppress(psutil.Error, OSError):
        exhaust_memory(training)
    with contextlib.suppress(psutil.NoSuchProcess):
        training.kill()


def exhaust_memory(process: psutil.Process) -> int | None:
    """Have the kernel kill a process for lack of memory.

    Returns:
        How the process ended, if it is a child of this one.

    Raises:
        OSError: the kernel's groups have no limit of memory.
    """
    with memory_group() as group:
        (group / "memory.limit_in_bytes").write_text(str(MEMORY_LIMIT))
        (group / "cgroup.procs").write_text(str(process.pid))
        # A process that allocates nothing new would live on.
        with contextlib.suppress(OSError):
            copy_pages(process.pid, 2 * MEMORY_LIMIT)
        return process.wait(60)


def copy_pages(pid: int, num_bytes: int) -> None:
    """Write pages of a process's files back to it unchanged: the kernel copies each and charges it to the process."""
    with open(f"/proc/{pid}/maps") as lines, open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
        for addresses, permissions, _offset, _device, inode, *_path in map(str.split, lines):
            if inode == "0" or permissions not in ("r--p", "r-xp"):
                continue
            first, last = (int(address, 16) for address in addresses.split("-"))
            for page in range(first, last, mmap.PAGESIZE):
                memory.seek(page)
                byte = memory.read(1)
                memory.seek(page)
                memory.write(byte)
                num_bytes -= mmap.PAGESIZE
                if num_bytes <= 0:
                    return


@contextmanager
def memory_group() -> Iterator[Path]:
    """Return a control group whose memory can be limited; raise OSError if the kernel has none."""
    group = CGROUPS / f"sakuga-{uuid.uuid4().hex}"
    group.mkdir()
    try:
        yield group
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text(), 30, "the end of a process without memory")
        group.rmdir()


def kill_part_of_ray(name: str) -> Callable[[Storm], None]:
    """Kills the process of that name, where this start has come so far."""

    def kill(storm: Storm) -> None:
        if storm.training():
            for member in family_of(storm.search):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if member.name() == name:
                        member.kill()
            storm.until_it_ends()

    return kill


def kill_mlflow(storm: Storm) -> None:
    storm.mlflow.wait()
    storm.mlflow.kill()
    storm.go_on()
    storm.mlflow.start(wait=False)


def freeze_mlflow(storm: Storm) -> None:
    storm.mlflow.wait()
    storm.mlflow.signal(signal.SIGSTOP)
    storm.go_on()
    storm.mlflow.signal(signal.SIGCONT)


def close_mlflows_store(storm: Storm) -> None:
    """The server answers, with an error: its database takes no connections."""
    storm.postgres.sql("ALTER DATABASE mlflow ALLOW_CONNECTIONS false")
    end_connections(storm, "mlflow")
    storm.go_on()
    storm.postgres.sql("ALTER DATABASE mlflow ALLOW_CONNECTIONS true")


def end_connections(storm: Storm, database: str = "") -> None:
    where = f"datname = '{database or storm.places.database}'"
    storm.postgres.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {where}")


def restart_postgres(how: signal.Signals, away_s: float = 0.0) -> Callable[[Storm], None]:
    """Stops PostgreSQL that way, and starts it again some seconds later."""

    def restart(storm: Storm) -> None:
        storm.postgres.stop(how)
        time.sleep(away_s)
        storm.postgres.start()

    return restart


def fill_disk(storm: Storm) -> None:
    filler = fill(storm.places.disk)
    storm.until_it_ends()
    filler.unlink()


SEARCH_ENDS = (2,)
FAULTS = {
    "driver: kill -9": Fault(kill_driver, (-signal.SIGKILL,)),
    "driver: SIGTERM": Fault(Storm.terminate, TERMINATED),
    "driver: Ctrl-C": Fault(interrupt, (130,)),
    "training: kill -9": Fault(kill_training, kills_training=True),
    "training: out of memory": Fault(take_memory_away, kills_training=True),
    "Ray: kill -9 of the raylet": Fault(kill_part_of_ray("raylet"), SEARCH_ENDS, kills_training=True),
    "Ray: kill -9 of the GCS": Fault(kill_part_of_ray("gcs_server"), SEARCH_ENDS, kills_training=True),
    "MLflow: kill -9 of the server": Fault(kill_mlflow),
    "MLflow: the server hangs": Fault(freeze_mlflow),
    "MLflow: the store refuses": Fault(close_mlflows_store),
    "PostgreSQL: fast restart": Fault(restart_postgres(signal.SIGINT)),
    "PostgreSQL: immediate restart": Fault(restart_postgres(signal.SIGQUIT)),
    "PostgreSQL: away for 5 s": Fault(restart_postgres(signal.SIGINT, 5)),
    "PostgreSQL: connections ended": Fault(end_connections),
    "disk full": Fault(fill_disk, SEARCH_ENDS),
}
