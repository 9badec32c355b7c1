"""How long trials take, as `--dry-run` projects it from measured steps, compared with real trainings.

Ten random samples of each space at tiny scale on the sample set, without those that diverge: each is measured and then
trained for two epochs, on one thread. One process measures all samples and another trains them, as a search on a CPU
reuses its processes, so the start of a process is not compared. The dry run measures wall time; if the machine has
other work, compare CPU seconds with `--clock cpu`: the same code with another clock.

Run: python benchmarks/projection.py [--spaces transreid dafre agw] [--trials 10] [--epochs 2] [--clock wall|cpu]
"""

import argparse
import os
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.window.one_trial import measure_trial, train_trial
from platform.config import SearchConfig
from platform.preflight.suggestions import Suggestion, Suggestions
from platform.resolve import resolve_search
from platform.resolved_search import ResolvedSearch
from shards_tools.parallel import num_cpus
from shards_tools.sample import sample_set

SPACES = ("transreid", "dafre", "agw")
TOLERANCE = 0.2

Run = Callable[[dict[str, Any]], Any]


def main() -> None:
    """Print a line per trial, and a summary per space and of all."""
    options = _parsed()
    data = str(sample_set())
    with TemporaryDirectory() as folder:
        os.environ["SAKUGA_CACHE"] = folder  # the first trial of each image size decodes the images
        with _process() as measuring, _process() as training:
            all_ratios: list[float] = []
            for space in options.spaces:
                search = _search(space, data, options.epochs, Path(folder))
                print(f"\n{space}, {options.epochs} epochs, {options.clock} s  projected   real  ratio", flush=True)
                compared = (
                    compare(
                        sample,
                        _job(search, sample, options.clock),
                        measure=lambda job: measuring.submit(measure_trial, job).result(),
                        train=lambda job: training.submit(train_trial, job).result(),
                    )
                    for sample in Suggestions(search.setup, search.goal.at_most).random
                )
                ratios = list(islice((ratio for ratio in compared if ratio is not None), options.trials))
                print(f"{space}: {_summary(ratios)}", flush=True)
                all_ratios += ratios
    print(f"\nall: {_summary(all_ratios)}")


def compare(sample: Suggestion, job: dict[str, Any], *, measure: Run, train: Run) -> float | None:
    """Measure and train one sample and print both; return projected seconds over real ones, or None if it diverges."""
    step, real_s = measure(job), train(job)
    if real_s is None:
        return None
    in_cpu_seconds = job["clock"] == "cpu"  # they add up, even if they pass at the same time
    decode_s = step.decode_s * (num_cpus() if in_cpu_seconds else 1)
    epoch_s = step.epoch_s(loads_ahead=not in_cpu_seconds)
    projected_s = decode_s + step.training_s(sample.recipe.epochs, loads_ahead=not in_cpu_seconds)
    parts = {
        "epoch": epoch_s,
        "load": step.load_s,
        "step": step.step_s,
        "metrics": step.metrics_s,
        "decode": decode_s,
        "prepare": step.prepare_s,
        "warm-up": step.warm_up_s,
    }
    said = ", ".join(f"{name} {seconds:.3f}" for name, seconds in parts.items())
    name = f"{sample.recipe.backbone} at {sample.recipe.image_size}"
    print(f"  {name:28}{projected_s:8.2f}{real_s:7.2f}{projected_s / real_s:7.2f}   {said}", flush=True)
    return float(projected_s / real_s)


def _search(space: str, data: str, epochs: int, runs: Path) -> ResolvedSearch:
    return resolve_search(SearchConfig(space=space, data=data, scale="tiny", epochs=epochs, concurrency=1, runs=runs))


def _job(search: ResolvedSearch, sample: Suggestion, clock: str) -> dict[str, Any]:
    config = search.setup.config(sample.recipe, search.resources)
    return {key: config[key] for key in ("recipe", "settings", "data", "num_threads")} | {"clock": clock}


def _process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def _summary(ratios: list[float]) -> str:
    near = sum(abs(ratio - 1) <= TOLERANCE for ratio in ratios)
    return (
        f"{near} of {len(ratios)} within {TOLERANCE:.0%}; projected / real {statistics.median(ratios):.2f} in the"
        f" median, {min(ratios):.2f} to {max(ratios):.2f}"
    )


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spaces", nargs="+", default=SPACES)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    return parser.parse_args()


if __name__ == "__main__":
    main()
