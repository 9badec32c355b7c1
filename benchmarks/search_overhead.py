"""Benchmark of what a search costs besides its trainings, and how that grows with the study.

Trials that do no work run on two slots: through the platform, and through stock Ray Tune with OptunaSearch, ASHA and
MLflowLoggerCallback, in turn, each block of trials in its own process. Both have the same space, rungs, reports and
checkpoints, SQLite for Optuna and SQLite for MLflow. CPU seconds of the driver and wall time are counted from Ray's
start to the last write. Then follows a study of thousands of trials without Ray.

Run: python benchmarks/search_overhead.py [--full]. Exits with 1 if a limit is exceeded.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune

if TYPE_CHECKING:
    from platform.resolved_search import ResolvedSearch

# Appended, because `platform` must first resolve to the standard library's.
sys.path.append(str(Path(__file__).parents[1]))

NUM_SLOTS = 2
EPOCHS = 4  # one rung, at 2
RATIO_LIMIT = 0.5  # of stock Tune's seconds, both driver CPU and wall
ASK_LIMIT_MS = 150
SMALL_STUDY = 1000
BYTES_LIMIT = 1.2  # bytes per trial of the largest study, relative to the small one
COLUMNS = {"ask": 8, "ask_95": 8, "ask_cpu": 9, "report": 8, "end": 8, "bytes": 8}  # name -> width


def suggest(trial: Any) -> dict[str, Any]:
    """Suggest the eight parameters of both searches, which the platform turns into a recipe."""
    return {
        "recipe": "transreid-tiny",
        "image_size": trial.suggest_categorical("image_size", (32, 48)),
        "jpm": trial.suggest_categorical("jpm", (False, True)),
        "works_per_batch": trial.suggest_categorical("works_per_batch", (8, 16)),
        "optimizer": trial.suggest_categorical("optimizer", ("sgd", "adamw")),
        "lr": trial.suggest_float("lr", 1e-4, 1e-2, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-5, 1e-1, log=True),
        "drop_path": trial.suggest_float("drop_path", 0.0, 0.3),
        "erase_probability": trial.suggest_float("erase_probability", 0.0, 0.8),
        "warmup_epochs": 0,
    }


def train_nothing(config: dict[str, Any], epoch_s: float = 0.0) -> None:
    """Report what a trial reports, each time with a checkpoint of a few bytes, and sleep for an epoch's time."""
    lr = config.get("settings", config)["lr"]
    names = ("mINP", "cmc_1", "cmc_5", "cmc_10", "cmc_20", "num_valid_queries", "loss", "id_loss", "metric_loss")
    for epoch in range(1, EPOCHS + 1):
        time.sleep(epoch_s)
        numbers = dict.fromkeys((*names, "seconds", "images_per_second", "rss_mb"), 1.0 + lr)
        value = (1 - abs(lr - 3e-3)) * (1 - 0.5**epoch)
        metrics = {**numbers, "epoch": epoch, "mAP": value, "lr": lr, "time": time.time()}
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "checkpoint.json").write_text(json.dumps(metrics))
            result = _result_of_ours(metrics) if "settings" in config else metrics
            tune.report(result, checkpoint=tune.Checkpoint.from_directory(folder))


def _result_of_ours(metrics: dict[str, float]) -> dict[str, Any]:
    from trainables.training.trial_report import TrialReport

    return TrialReport(metrics=metrics, reading="decoded").to_result()


@contextmanager
def measured(found: dict[str, float]) -> Iterator[None]:
    """Store wall time and this process's CPU time of the context in `found`."""
    wall, own = time.perf_counter(), _own_seconds()
    yield
    found["wall"] = time.perf_counter() - wall
    found["driver"] = _own_seconds() - own


def _own_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def search_in(
    folder: Path, num_trials: int, epochs: int, num_slots: int = NUM_SLOTS, options: Sequence[str] = ()
) -> ResolvedSearch:
    """Return the configuration of a search of the space, with everything stored under `folder`."""
    from platform.resolve import resolve_search
    from platform.search import parse

    space = folder / "nothing.py"
    space.write_text("from typing import Any\n\n" + inspect.getsource(suggest))
    words = ["--space", space, "--runs", folder, "--trials", num_trials, "--epochs", epochs, "--scale", "tiny"]
    return resolve_search(parse([*map(str, words), "--concurrency", str(num_slots), *options])[0])


def ours(
    folder: Path,
    num_trials: int,
    trainable: Callable[[dict[str, Any]], None] = train_nothing,
    num_slots: int = NUM_SLOTS,
    options: Sequence[str] = (),
) -> dict[str, float]:
    """Run the platform's own path, from the configuration to the last event that MLflow accepted."""
    import optuna

    from platform.execution import local_cluster, run_trials
    from platform.lock import only_driver
    from platform.study import open_storage, open_study
    from platform.terminal.lines import Display
    from platform.tracking.journal import Journal
    from platform.tracking.tracker import Tracker
    from platform.trials import Trials

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    search = search_in(folder, num_trials, EPOCHS, num_slots, options)
    storage = open_storage(search.stores.storage)
    found: dict[str, float] = {}
    with ExitStack() as stack:
        stack.enter_context(only_driver(search.stores, storage))
        journal = stack.enter_context(Journal(search.stores.folder / "journal.jsonl"))
        study = open_study(search, storage)
        tracker = Tracker(
            journal,
            uri=search.stores.tracking,
            artifacts=folder / "artifacts",
            study=search.stores.study,
            params=search.identity(),
            tags={},
        )
        tracker.start()
        trials = Trials(study, search, journal, Display(study, search.goal))
        stack.enter_context(local_cluster(search.resources.num_cpus))
        assert tracker.ready.wait(120), tracker.trouble
        with measured(found):
            run_trials(trials, 1, search.budget.hours, trainable)
            tracker.close(120)
    assert not tracker.unsent, tracker.trouble
    found["reports"] = sum(len(trial.intermediate_values) for trial in study.get_trials(deepcopy=False))
    assert len(study.trials) == num_trials
    return found


def stock(folder: Path, num_trials: int) -> dict[str, float]:
    """Run Ray Tune as in its documentation, on the same rungs as ours."""
    import mlflow
    import optuna
    import ray
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db").create_experiment(
        "stock", artifact_location=(folder / "artifacts").as_uri()
    )
    searcher: Any = OptunaSearch(
        suggest, study_name="stock", storage=optuna.storages.RDBStorage(f"sqlite:///{folder}/optuna.db"),
        metric="mAP", mode="max", seed=0,
    )  # fmt: skip
    logger: Any = MLflowLoggerCallback(tracking_uri=f"sqlite:///{folder}/mlflow.db", experiment_name="stock")
    tuner = tune.Tuner(
        train_nothing,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            # grace_period and reduction_factor match the platform's first rung
            scheduler=ASHAScheduler(metric="mAP", mode="max", max_t=EPOCHS, grace_period=2, reduction_factor=3),
            num_samples=num_trials,
            max_concurrent_trials=NUM_SLOTS,
        ),
        run_config=tune.RunConfig(name="stock", storage_path=str(folder), callbacks=[logger]),
    )
    ray.init(address="local", num_cpus=NUM_SLOTS, include_dashboard=False)
    found: dict[str, float] = {}
    with measured(found):
        results = tuner.fit()
    found["reports"] = int(results.get_dataframe()["epoch"].sum())
    assert len(results) == num_trials
    ray.shutdown()
    return found


SEARCHES = {"ours": ours, "stock": stock}


def block(name: str, num_trials: int) -> dict[str, float]:
    """Run one search in its own process; return seconds per trial, and reports per trial."""
    found = found_apart(__file__, "--search", name, "--trials", num_trials)
    return {key: value / num_trials for key, value in found.items()}


def found_apart(script: str, *words: object, **variables: str) -> dict[str, float]:
    """Run a benchmark in its own process and folder; return the JSON object that it prints last."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, script, "--folder", folder, *map(str, words)]
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "RAY_USAGE_STATS_ENABLED": "0", **variables}
        result = subprocess.run(command, capture_output=True, text=True, env=environment)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{result.stderr[-4000:]}")
    found: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return found


def main() -> int:
    """Print seconds per trial and their ratios; return 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="3 blocks of 100 trials, and a study of 10,000")
    parser.add_argument("--search", choices=SEARCHES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--blocks", type=int, help="blocks of each search")
    parser.add_argument("--trials", type=int, help="trials of a block")
    parser.add_argument("--sizes", type=int, nargs="*", help="sizes of the study without Ray")
    options = parser.parse_args()
    if options.search:
        print(json.dumps(SEARCHES[options.search](options.folder, options.trials)))
        return 0
    blocks, trials, sizes = (3, 100, (100, 1000, 4000, 10_000)) if options.full else (1, 20, (100, 1000))
    holds = overhead(options.blocks or blocks, options.trials or trials)
    return 0 if large_study(sizes if options.sizes is None else options.sizes) and holds else 1


def overhead(num_blocks: int, num_trials: int) -> bool:
    """Run our searches and the stock ones in turn; return whether the limits hold."""
    blocks: dict[str, list[dict[str, float]]] = {name: [] for name in SEARCHES}
    for _ in range(num_blocks):
        for name in SEARCHES:
            blocks[name].append(block(name, num_trials))
            print(name, {key: round(value, 3) for key, value in blocks[name][-1].items()}, file=sys.stderr, flush=True)
    print(f"{num_blocks} x {num_trials} trials without work on {NUM_SLOTS} slots, seconds per trial, medians of blocks")
    print(f"{'':8}{'driver CPU':>12}{'wall':>8}{'reports':>9}")
    medians = {}
    for name, found in blocks.items():
        row = {key: statistics.median(one[key] for one in found) for key in found[0]}
        medians[name] = row
        print(f"{name:8}{row['driver']:12.2f}{row['wall']:8.2f}{row['reports']:9.1f}")
    ratios = {key: medians["ours"][key] / medians["stock"][key] for key in ("driver", "wall")}
    print(f"of stock Tune: driver CPU {ratios['driver']:.2f}, wall {ratios['wall']:.2f}; the limit is {RATIO_LIMIT}")
    print(f"Stock Tune starts a process for each trial, which needs {process_seconds():.2f} CPU seconds to")
    print("import Ray Tune; ours reuses the process of a finished trial.")
    return max(ratios.values()) <= RATIO_LIMIT


def process_seconds() -> float:
    """Return the CPU seconds of a process that imports Ray Tune and exits."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", "from ray import tune"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def large_study(sizes: Sequence[int]) -> bool:
    """Grow one study to each of `sizes`; return whether the limits hold."""
    import optuna

    from benchmarks.large_study import grow
    from benchmarks.studies.filled import EPOCHS

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        found = grow(search_in(Path(folder), max(sizes, default=1), EPOCHS), sizes)
    print("one study without Ray; milliseconds, medians of the last 100 trials, and bytes of the database per trial")
    print(f"{'trials':>8}{'ask':>8}{'95 %':>8}{'its CPU':>9}{'report':>8}{'end':>8}{'bytes':>8}")
    for size, row in found.items():
        times = "".join(f"{row[key]:{width}.0f}" for key, width in COLUMNS.items())
        print(f"{size:8}{times}")
    holds = all(row["ask"] <= ASK_LIMIT_MS for row in found.values())
    if SMALL_STUDY in found and sizes[-1] > SMALL_STUDY:
        growth = found[sizes[-1]]["bytes"] / found[SMALL_STUDY]["bytes"]
        holds &= growth <= BYTES_LIMIT
        print(f"bytes per trial: {growth:.2f} of those at {SMALL_STUDY} trials, the limit is {BYTES_LIMIT}")
    print(f"the limit of an ask is {ASK_LIMIT_MS} ms")
    return holds


if __name__ == "__main__":
    sys.exit(main())
