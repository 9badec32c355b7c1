"""Faults of every kind that befall one long search, in random order, each once the last one's effect has passed."""

import contextlib
import os
import random
import signal
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.platform.driver import ROOT, command, family_of, stored_trials, trainings_of, wait_until
from tests.platform.mlflow_server import MlflowServer
from tests.platform.postgres import Server
from tests.platform.small_disk import fill

# Trainings of a fraction of a second per epoch, of which none is pruned before the ninth: the search is to outlast the
# faults. Some settings make the loss NaN, some fit into no memory.
SPACE = """
def suggest(trial):
    kind = trial.suggest_int("kind", 0, 9)
    settings = {
        "recipe": "transreid-tiny", "backbone": "vit_64x3", "stride_px": 8, "image_size": 32, "images_per_epoch": 768,
        "works_per_batch": 4, "images_per_work": 4, "epochs": 18, "warmup_epochs": 9,
        "erase_probability": trial.suggest_categorical("erase_probability", (0.0, 0.5)),
        "lr": trial.suggest_float("lr", 1e-4, 1e-2, log=True),
    }
    if kind == 8:
        settings |= {"optimizer": "sgd", "lr": 1e30}
    if kind == 9:
        settings |= {"id_loss": "arcface", "sub_centers": 10**10}
    return settings


BASELINES = {"hand-set": {"kind": 0, "erase_probability": 0.0, "lr": 1e-3}}
"""
TRIALS_PER_FAULT = 1.2  # as many as the search needs so as not to end before the last fault
PATIENCE_S = 900  # for one further epoch, on a busy machine
LONGEST_START_S = 12  # until trainings begin
MARK = "SAKUGA_FAULTS_RUN"  # a variable in the environment of every process of the search
CGROUPS = Path("/sys/fs/cgroup/memory")


class Storm:
    """A search that is restarted by the same command whenever it ends, and the record of its faults."""

    def __init__(
        self, words: list[object], *, folder: Path, disk: Path, database: str, postgres: Server, mlflow: MlflowServer
    ) -> None:
        self.postgres, self.mlflow, self.disk, self.database = postgres, mlflow, disk, database
        self.mark = uuid.uuid4().hex
        self.done = False
        self.num_starts = 0
        self.seen: dict[int, dict[int, float]] = {}  # trial -> epoch -> value, as known when a fault came
        self._words, self._folder, self._progress = words, folder, (0, 0)
        self.start()

    def start(self) -> None:
        """Give the command, the first time or again."""
        self.num_starts += 1
        self._started = time.monotonic()
        environment = {**os.environ, MARK: self.mark, "TMPDIR": str(self._folder)}
        with open(self.screen, "w") as screen, open(self.screen.with_suffix(".json"), "w") as out:
            self.search = subprocess.Popen(
                command(*self._words), cwd=ROOT, stdout=out, stderr=screen, env=environment, start_new_session=True
            )

    @property
    def screen(self) -> Path:
        """What people read of this start."""
        return self._folder / f"start-{self.num_starts:03d}.txt"

    def progress(self) -> tuple[int, int]:
        """How many epochs and how many ended trials Optuna's database holds; while it is away, held."""
        count = "SELECT (SELECT count(*) FROM trial_intermediate_values), (SELECT count(*) FROM trials"
        count += " WHERE state IN ('COMPLETE', 'PRUNED', 'FAIL'))"
        with contextlib.suppress(subprocess.CalledProcessError):
            epochs, ended = self.postgres.sql(count, self.database).split("|")
            self._progress = int(epochs), int(ended)
        return self._progress

    def keep_running(self, may_end_with: tuple[int, ...] = ()) -> None:
        """Restart the search if it has ended, with exit code 0 or the code that the last fault causes."""
        code = self.search.poll()
        if code is None:
            return
        text = self.screen.read_text()
        assert code == 0 or code in may_end_with, f"{self.screen.name} ended with {code}:\n{text}"
        assert "Traceback" not in text, text
        self.done = code == 0
        if not self.done:
            self.start()

    def go_on(self, may_end_with: tuple[int, ...] = ()) -> None:
        """Wait until Optuna knows of one more epoch, or the end of one more trial, or all is done."""
        before, deadline = self.progress(), time.monotonic() + PATIENCE_S
        while self.progress() == before and not self.done:
            self.keep_running(may_end_with)
            assert time.monotonic() < deadline, f"nothing for {PATIENCE_S} s:\n{self.screen.read_text()}"
            time.sleep(0.05)

    def until_it_ends(self) -> None:
        """Wait for the end of this start."""
        self.search.wait(PATIENCE_S)

    def training(self) -> psutil.Process | None:
        """The process that trains; None where all is done."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.done:
            self.keep_running()
            with contextlib.suppress(psutil.NoSuchProcess):
                if trainings := trainings_of(self.search):
                    return trainings[-1]
            assert time.monotonic() < deadline, f"no training for {PATIENCE_S} s:\n{self.screen.read_text()}"
            time.sleep(0.05)
        return None

    def remember(self) -> None:
        """Keep what Optuna knows now, for nothing of it may be lost."""
        if self.progress() != (0, 0):
            url = f"postgresql+psycopg://sakuga@127.0.0.1:{self.postgres.port}/{self.database}"
            for trial in stored_trials(url):
                self.seen.setdefault(trial.number, {}).update(trial.intermediate_values)

    def age_s(self) -> float:
        """Seconds since this start."""
        return time.monotonic() - self._started


def kill_driver(storm: Storm) -> None:
    storm.search.kill()
    storm.until_it_ends()


def terminate_driver(storm: Storm) -> None:
    storm.search.terminate()
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
    with contextlib.suppress(psutil.NoSuchProcess, OSError), memory_group() as group:
        (group / "memory.limit_in_bytes").write_text(str(2**20))
        (group / "cgroup.procs").write_text(str(training.pid))
        with contextlib.suppress(psutil.TimeoutExpired):
            training.wait(10)
    with contextlib.suppress(psutil.NoSuchProcess):
        training.kill()


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
    where = f"datname = '{database or storm.database}'"
    storm.postgres.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {where}")


def restart_postgres(how: signal.Signals, away_s: float = 0.0) -> Callable[[Storm], None]:
    """Stops PostgreSQL that way, and starts it again some seconds later."""

    def restart(storm: Storm) -> None:
        storm.postgres.stop(how)
        time.sleep(away_s)
        storm.postgres.start()

    return restart


def fill_disk(storm: Storm) -> None:
    filler = fill(storm.disk)
    storm.until_it_ends()
    filler.unlink()


# Name -> what is done, and the codes that the search may end with; those without go on in the same start.
FAULTS: dict[str, tuple[Callable[[Storm], None], tuple[int, ...]]] = {
    "driver: kill -9": (kill_driver, (-signal.SIGKILL,)),
    "driver: SIGTERM": (terminate_driver, (130, -signal.SIGTERM, signal.SIGTERM)),  # the last while Ray starts
    "driver: Ctrl-C": (interrupt, (130,)),
    "training: kill -9": (kill_training, ()),
    "training: out of memory": (take_memory_away, ()),
    "Ray: kill -9 of the raylet": (kill_part_of_ray("raylet"), (2,)),
    "Ray: kill -9 of the GCS": (kill_part_of_ray("gcs_server"), (2,)),
    "MLflow: kill -9 of the server": (kill_mlflow, ()),
    "MLflow: the server hangs": (freeze_mlflow, ()),
    "MLflow: the store refuses": (close_mlflows_store, ()),
    "PostgreSQL: fast restart": (restart_postgres(signal.SIGINT), ()),
    "PostgreSQL: immediate restart": (restart_postgres(signal.SIGQUIT), ()),
    "PostgreSQL: away for 5 s": (restart_postgres(signal.SIGINT, 5), ()),
    "PostgreSQL: connections ended": (end_connections, ()),
    "disk full": (fill_disk, (2,)),
}


def rage(storm: Storm, number: int, seed: int) -> Counter[str]:
    """Inject `number` faults, then let the search end undisturbed; return how many of each kind there were.

    A start that a fault has ended may meet the next one before its first epoch, unless that kills trainings: three such
    deaths in one epoch end a trial, as they should.
    """
    draw = random.Random(seed)
    names = [name for _, name in zip(range(number), [*FAULTS] * number, strict=False)]
    draw.shuffle(names)
    counts: Counter[str] = Counter()
    storm.go_on()
    for index, name in enumerate(names, 1):
        inject, may_end_with = FAULTS[name]
        time.sleep(draw.uniform(0, 0.5))
        assert not storm.done, f"The search was done before fault {index}; it needs more trials."
        storm.remember()
        print(f"fault {index:3d} of {number}, start {storm.num_starts}, {storm.age_s():3.0f} s old: {name}", flush=True)
        before = storm.num_starts
        inject(storm)
        counts[name] += 1
        storm.keep_running(may_end_with)
        early = storm.num_starts > before and index < number and not names[index].startswith(("training", "Ray"))
        if early and draw.random() < 0.5:
            time.sleep(draw.uniform(0, LONGEST_START_S))
        else:
            storm.go_on(may_end_with)
    storm.mlflow.wait()
    storm.remember()
    while not storm.done:
        storm.go_on()
    return counts


def processes_of(mark: str) -> list[psutil.Process]:
    """Every process of this machine that was started, at whatever remove, by the search of that mark."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
