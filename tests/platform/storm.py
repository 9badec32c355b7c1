"""One long search that faults befall, in random order, each once the last one's effect has passed."""

import contextlib
import os
import random
import signal
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
from optuna.trial import FrozenTrial, TrialState

from tests.platform.driver import ROOT, command, stored_trials, trainings_of
from tests.platform.mlflow_server import MlflowServer
from tests.platform.postgres import Server

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
FIRST_COMPARISON = 9  # the epoch at which trials of SPACE are compared, that of its warm-up
TRIALS_PER_FAULT = 2  # more than a search comes to between two faults
TRIALS_AFTER_FAULTS = 3
TERMINATED = (130, -signal.SIGTERM, signal.SIGTERM)  # exit codes; the last while Ray starts
PATIENCE_S = 900  # for one further epoch, on a busy machine
LONGEST_START_S = 12  # until trainings begin
MARK = "SAKUGA_FAULTS_RUN"  # a variable in the environment of every process of the search


@dataclass(frozen=True)
class Places:
    """Where a search and its servers keep what they have."""

    folder: Path  # what people read of each start
    disk: Path  # a small disk, under --runs
    tmp: Path  # another, as TMPDIR
    database: str  # of Optuna, in PostgreSQL


class Storm:
    """A search that is restarted by the same command whenever it ends, and the record of its faults."""

    def __init__(
        self, words: list[object], num_trials: int, places: Places, postgres: Server, mlflow: MlflowServer
    ) -> None:
        self.places, self.postgres, self.mlflow = places, postgres, mlflow
        self.mark = uuid.uuid4().hex
        self.done = False
        self.num_trials = num_trials
        self.num_starts = 0
        self.seen: dict[int, dict[int, float]] = {}  # trial -> epoch -> value, as known when a fault came
        self.runs = places.disk / "runs"  # until somebody moves it
        self.ended_outside: set[int] = set()  # trials that somebody ended in the study
        self.deleted_runs: set[int] = set()  # trials whose runs somebody deleted in MLflow
        self._words, self._progress = words, (0, 0)
        self.start()

    def start(self) -> None:
        """Give the command, the first time or again."""
        self.num_starts += 1
        self._started = time.monotonic()
        environment = {**os.environ, MARK: self.mark, "TMPDIR": str(self.places.tmp)}
        with open(self.screen, "w") as screen, open(self.screen.with_suffix(".json"), "w") as out:
            self.search = subprocess.Popen(
                command(*self._words, "--trials", self.num_trials, "--runs", self.runs),
                cwd=ROOT,
                stdout=out,
                stderr=screen,
                env=environment,
                start_new_session=True,
            )

    @property
    def screen(self) -> Path:
        """What people read of this start."""
        return self.places.folder / f"start-{self.num_starts:03d}.txt"

    def progress(self) -> tuple[int, int]:
        """How many epochs and how many ended trials Optuna's database holds; while it is away, held."""
        count = "SELECT (SELECT count(*) FROM trial_intermediate_values), (SELECT count(*) FROM trials"
        count += " WHERE state IN ('COMPLETE', 'PRUNED', 'FAIL'))"
        with contextlib.suppress(subprocess.CalledProcessError):
            epochs, ended = self.postgres.sql(count, self.places.database).split("|")
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

    def terminate(self) -> None:
        """End this start with SIGTERM."""
        self.search.terminate()
        self.until_it_ends()

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
            for trial in self.trials():
                self.seen.setdefault(trial.number, {}).update(trial.intermediate_values)

    def storage(self) -> str:
        """The address of Optuna's database."""
        return f"postgresql+psycopg://sakuga@127.0.0.1:{self.postgres.port}/{self.places.database}"

    def trials(self) -> list[FrozenTrial]:
        """What Optuna knows now."""
        return stored_trials(self.storage())

    def age_s(self) -> float:
        """Seconds since this start."""
        return time.monotonic() - self._started


@dataclass(frozen=True)
class Fault:
    """Something that befalls a search."""

    inject: Callable[[Storm], None]
    codes: tuple[int, ...] = ()  # that the search may end with; without any it goes on in the same start
    kills_training: bool = False


def rage(storm: Storm, faults: Mapping[str, Fault], number: int, seed: int) -> Counter[str]:
    """Inject `number` faults, then let the search end soon, undisturbed; return how many of each kind there were.

    A start that a fault has ended may meet the next one before its first epoch, unless that kills trainings: three such
    deaths in one epoch end a trial, as they should.
    """
    draw = random.Random(seed)
    names = [name for _, name in zip(range(number), [*faults] * number, strict=False)]
    draw.shuffle(names)
    counts: Counter[str] = Counter()
    storm.go_on()
    for index, name in enumerate(names, 1):
        time.sleep(draw.uniform(0, 0.5))
        assert not storm.done, f"The search was done before fault {index}; it needs more trials."
        storm.remember()
        print(f"fault {index:3d} of {number}, start {storm.num_starts}, {storm.age_s():3.0f} s old: {name}", flush=True)
        before = storm.num_starts
        faults[name].inject(storm)
        counts[name] += 1
        storm.keep_running(faults[name].codes)
        early = storm.num_starts > before and index < number and not faults[names[index]].kills_training
        if early and draw.random() < 0.5:
            time.sleep(draw.uniform(0, LONGEST_START_S))
        else:
            storm.go_on(faults[name].codes)
    storm.mlflow.wait()
    storm.remember()
    storm.terminate()
    states = [trial.state for trial in storm.trials()]
    storm.num_trials = sum(state.is_finished() and state != TrialState.FAIL for state in states) + TRIALS_AFTER_FAULTS
    storm.keep_running(TERMINATED)
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
