"""Benchmark of a driver whose study has thousands of trials and tens of running ones, without Ray.

A study is filled with finished and running trials and a journal of their events. Each measurement runs in a
process of its own, after its imports:

- `ask_p50_s`, `ask_p95_s`: a suggestion while the other trials report
- `epoch_p50_s`: the report of an epoch
- `start_s`: from opening the study to the configuration of the first trial that continues
- `adopt_s`: the configurations of the other running trials
- `report_s`: `platform.report STUDY`, with its imports; `page_mb`: the size of its page
- `list_s`: `platform.report --list`
- `mlflow_events_per_s`: the journal to a new MLflow store in SQLite; an event is a trial's start, an epoch or its end
- `memory_mb`: growth of the driver's process

Run: python benchmarks/large_study.py [--trials N ...] [--running R] [--storage URL] [--json].
Exits with 1 if a limit is exceeded.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import optuna

# Appended, because `platform` must first resolve to the standard library's.
sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.large_data import in_own_process, peak_mb
from benchmarks.search_overhead import search_in
from benchmarks.studies.filled import EPOCHS, Curves, Filler, metrics_of, store, write_journal
from platform.execution import run_trials  # noqa: F401  a search imports Ray before it opens its study
from platform.resolved_search import ResolvedSearch
from platform.start import opened_study
from platform.study import open_storage, open_study
from platform.terminal.lines import Display
from platform.tracking.events import rebuild
from platform.tracking.journal import Journal
from platform.tracking.tracker import Tracker
from platform.trials import Trials
from trainables.training.trial_report import TrialReport

NUM_TIMED = 100
RUNNING_EPOCHS = 17  # of the running trials at the start: their next rung is at 18
LIMITS = {"ask_p50_s": 0.15, "start_s": 5.0, "report_s": 60.0, "page_mb": 5.0, "list_s": 2.0, "memory_mb": 300.0}
AT_LEAST = {"mlflow_events_per_s": 2000.0}
REPORT_LIMIT_AT_1000_S = 20.0


def grow(search: ResolvedSearch, sizes: Sequence[int]) -> dict[int, dict[str, float]]:
    """Return, by size of the study: ask in ms (median, 95th percentile, CPU), report and end in ms, bytes per trial."""
    storage = open_storage(search.stores.storage)
    study = open_study(search, storage)
    curves = Curves(0)
    filler = Filler(search, curves)
    found = {}
    with Journal(search.stores.folder / "journal.jsonl") as journal:
        for size in sizes:
            rungs = _rungs(study, search)
            numbers = range(len(study.get_trials(deepcopy=False)), size - NUM_TIMED)
            store(storage, study, [filler.finished(number, rungs) for number in numbers])
            larger = replace(search, budget=replace(search.budget, trials=size))
            trials = Trials(study, larger, journal, Display(study, search.goal))
            found[size] = _timed(trials, curves)
            found[size]["bytes"] = os.path.getsize(search.stores.storage.removeprefix("sqlite:///")) / size
    return found


def _rungs(study: optuna.Study, search: ResolvedSearch) -> dict[str, list[float]]:
    names = [f"completed_rung_{number}" for number in range(len(search.setup.rungs) - 1)]
    done = [trial.system_attrs for trial in study.get_trials(deepcopy=False)]
    return {name: sorted(attrs[name] for attrs in done if name in attrs) for name in names}


def _timed(trials: Trials, curves: Curves) -> dict[str, float]:
    """Measure the driver for NUM_TIMED trials, one after another."""
    asks, cpus, reports, ends = [], [], [], []
    for number in range(NUM_TIMED):
        attempt = f"attempt {number}"
        cpu = time.process_time()
        config, seconds = _clocked(trials.start, attempt)
        cpus.append(time.process_time() - cpu)
        asks.append(seconds)
        assert config is not None
        settings = {"weight_decay": 1e-4, "lr": 1e-3, **config["settings"]}
        for epoch, value in enumerate(curves(settings), 1):
            goes_on, seconds = _clocked(trials.report, attempt, _report(epoch, float(value)))
            reports.append(seconds)
            if not goes_on:
                break
        ends.append(_clocked(partial(trials.finish, died=False), attempt)[1])
    return {
        "ask": 1000 * statistics.median(asks),
        "ask_95": 1000 * float(np.quantile(asks, 0.95)),
        "ask_cpu": 1000 * statistics.median(cpus),
        "report": 1000 * statistics.median(reports),
        "end": 1000 * statistics.median(ends),
    }


def _clocked(call: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    answer = call(*arguments)
    return answer, time.perf_counter() - start


def _report(epoch: int, value: float) -> TrialReport:
    return TrialReport(metrics={**metrics_of(value), "epoch": epoch, "time": time.time()}, reading="decoded")


def fill(folder: Path, num_trials: int, num_running: int, options: Sequence[str]) -> int:
    """Fill a new study with finished and running trials, and write its journal; return the number of events."""
    search = _search(folder, num_trials, num_running, options)
    storage = open_storage(search.stores.storage)
    study = open_study(search, storage)
    filler, rungs = Filler(search, Curves(0)), _rungs(study, search)
    first = len(study.get_trials(deepcopy=False))
    trials = [filler.finished(number, rungs) for number in range(first, num_trials)]
    trials += [filler.running(number, RUNNING_EPOCHS) for number in range(num_trials, num_trials + num_running)]
    store(storage, study, trials)
    return write_journal(search, trials, search.stores.folder / "journal.jsonl")


def _search(folder: Path, num_trials: int, num_running: int, storage: Sequence[str]) -> ResolvedSearch:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    more = num_trials + num_running + NUM_TIMED
    return search_in(folder, more, EPOCHS, num_running + 1, storage)


def drive(folder: Path, num_trials: int, num_running: int, storage: Sequence[str]) -> dict[str, float]:
    """Start the search again, adopt its running trials, and suggest NUM_TIMED more while they train."""
    search = _search(folder, num_trials, num_running, storage)
    before, started = peak_mb(), time.perf_counter()
    with opened_study(search) as (study, _, journal):
        rebuild(study, search.setup, search.method, journal)
        trials = Trials(study, search, journal, Display(study, search.goal))
        configs = {"attempt 0": trials.start("attempt 0")}
        start_s = time.perf_counter() - started
        configs |= {f"attempt {number}": trials.start(f"attempt {number}") for number in range(1, num_running)}
        adopt_s = time.perf_counter() - started - start_s
        gc.freeze()  # as a search does
        asks, epochs = _asked_while_others_train(trials, {key: config for key, config in configs.items() if config})
    return {
        "start_s": start_s,
        "adopt_s": adopt_s,
        "ask_p50_s": statistics.median(asks),
        "ask_p95_s": float(np.quantile(asks, 0.95)),
        "epoch_p50_s": statistics.median(epochs),
        "memory_mb": peak_mb() - before,
    }


def _asked_while_others_train(trials: Trials, configs: dict[str, dict[str, Any]]) -> tuple[list[float], list[float]]:
    """Return the seconds of NUM_TIMED suggestions and of each report of an epoch before the last of them.

    Each running trial reports in turn; one that ends is replaced.
    """
    curves = Curves(1)
    asks: list[float] = []
    reports: list[float] = []
    running = {key: _epochs_of(config, curves, RUNNING_EPOCHS) for key, config in configs.items()}
    while len(asks) < NUM_TIMED:
        for attempt, epochs in list(running.items()):
            epoch, value = next(epochs)
            goes_on, seconds = _clocked(trials.report, attempt, _report(epoch, value))
            reports.append(seconds)
            if goes_on and epoch < EPOCHS:
                continue
            trials.finish(attempt, died=False)
            del running[attempt]
            name = f"asked {len(asks)}"
            config, seconds = _clocked(trials.start, name)
            assert config is not None
            asks.append(seconds)
            running[name] = _epochs_of(config, curves, 0)
            if len(asks) == NUM_TIMED:
                break
    return asks, reports


def _epochs_of(config: dict[str, Any], curves: Curves, done: int) -> Any:
    settings = {"weight_decay": 1e-4, "lr": 1e-3, **config["settings"]}
    return iter([(epoch, float(value)) for epoch, value in enumerate(curves(settings), 1) if epoch > done])


def report(folder: Path, storage: Sequence[str]) -> tuple[float, float]:
    """Return the seconds of `platform.report STUDY` and the MB of its page."""
    (study,) = [path.name for path in folder.iterdir() if (path / "journal.jsonl").exists()]
    out = folder / "report"
    words = ["-m", "platform.report", study, "--runs", folder, "--out", out, *storage]
    begun = time.perf_counter()
    subprocess.run([sys.executable, *map(str, words)], check=True, capture_output=True, cwd=Path(__file__).parents[1])
    return time.perf_counter() - begun, (out / "index.html").stat().st_size / 1e6


def list_studies(folder: Path, storage: Sequence[str]) -> float:
    """Return the seconds of `platform.report --list` after its imports."""
    from platform.report import main as report_main
    from platform.reporting import runner  # noqa: F401

    begun = time.perf_counter()
    report_main(["--list", "--runs", str(folder), *storage])
    return time.perf_counter() - begun


def tell_mlflow(folder: Path, num_trials: int, num_running: int, storage: Sequence[str]) -> float:
    """Return the seconds in which a new MLflow store gets the whole journal."""
    from platform.tracking.quiet_mlflow import import_quietly

    import_quietly()
    search = _search(folder, num_trials, num_running, storage)
    with Journal(search.stores.folder / "journal.jsonl") as journal:
        tracker = Tracker(
            journal,
            uri=f"sqlite:///{folder}/told.db",
            artifacts=folder / "artifacts",
            study=search.stores.study,
            params={},
            tags={},
        )
        tracker.start()
        assert tracker.ready.wait(120), tracker.trouble
        begun = time.perf_counter()
        while tracker.unsent:
            assert not tracker.trouble, tracker.trouble
            time.sleep(0.05)
        seconds = time.perf_counter() - begun
        tracker.close(10)
    return seconds


def measure(num_trials: int, num_running: int, storage: Sequence[str] = ()) -> dict[str, float]:
    """Return the numbers of a study of one size; `storage` is the option for another database than SQLite."""
    with tempfile.TemporaryDirectory() as name:
        size = (Path(name), num_trials, num_running, storage)
        num_events = in_own_process(fill, *size)
        list_s = in_own_process(list_studies, Path(name), storage)
        report_s, page_mb = report(Path(name), storage)
        mlflow_s = in_own_process(tell_mlflow, *size)
        driven = in_own_process(drive, *size)
    rate = num_events / mlflow_s
    return {**driven, "report_s": report_s, "page_mb": page_mb, "list_s": list_s, "mlflow_events_per_s": rate}


def exceeded(num_trials: int, found: dict[str, float]) -> list[str]:
    """Return the numbers that break their limits."""
    limits = LIMITS | ({"report_s": REPORT_LIMIT_AT_1000_S} if num_trials <= 1000 else {})
    return [
        *[key for key, limit in limits.items() if found[key] > limit],
        *[key for key, limit in AT_LEAST.items() if found[key] < limit],
    ]


def main() -> int:
    """Print the numbers and the exponents of their growth; return 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000], metavar="N", help="finished trials")
    parser.add_argument("--running", type=int, default=64, metavar="R", help="running trials")
    parser.add_argument("--storage", metavar="URL", help="an empty database, for one N; default: a new SQLite file")
    parser.add_argument("--json", action="store_true", help="print one line of JSON for each N")
    options = parser.parse_args()
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    rows = {}
    storage = ["--storage", options.storage] if options.storage else []
    for num_trials in options.trials:
        found = rows[num_trials] = measure(num_trials, options.running, storage)
        if options.json:
            print(json.dumps({"trials": num_trials, "running": options.running, **found}), flush=True)
            continue
        print(f"{num_trials:,} finished trials, {options.running} running")
        for key, value in found.items():
            mark = "   over its limit" if key in exceeded(num_trials, found) else ""
            print(f"  {key:<20}{value:10.3f}{mark}", flush=True)
    for (fewer, small), (more, large) in pairwise(rows.items()):
        if not options.json:
            powers = {key: math.log(large[key] / small[key]) / math.log(more / fewer) for key in small}
            listed = ", ".join(f"{key} {power:.2f}" for key, power in powers.items())
            print(f"exponents from {fewer:,} to {more:,}: {listed}")
    return int(any(exceeded(num_trials, found) for num_trials, found in rows.items()))


if __name__ == "__main__":
    sys.exit(main())
