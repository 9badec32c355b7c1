"""Benchmark of what each family learns from scratch in the same CPU time, with its hand-set recipe at tiny scale.

Every family trains on one thread for as many whole passes as fit into the given minutes, estimated from a first pass;
its schedule spans exactly these passes. Works are ranked, classes are classified; chance is shown for comparison.

Run: python benchmarks/families.py [SHARDS] [--minutes 5] [--families agw transreid]; without shards on the drawn sample
set. The tables of docs/benchmarks.md use Omniglot's fold 0, its characters as classes, and a drawn DAF:re.
"""

import argparse
import dataclasses
import multiprocessing
import resource

import torch

from shards_tools.manifest_file import read_manifest
from shards_tools.sample import sample_set
from trainables.evaluation.evaluation import Evaluation, Metrics
from trainables.recipes import get_recipe
from trainables.recipes.recipe import Recipe
from trainables.recipes.settings import override
from trainables.training.loop import train
from trainables.training.trial_report import Save, TrialReport

# family -> settings for trainings of many passes: augmentation, and less weight on the metric loss
SETTINGS: dict[str, dict[str, object]] = {
    "transreid": {"lr": 0.003, "metric_weight": 0.3, "neck_feature": "after", "label_smoothing": 0.1},
    "agw": {"pad_px": 5, "erase_probability": 0.5},
    "dafre": {},
    "animesion": {},
    "icartoonface": {},
    "open": {"metric_weight": 0.3, "label_smoothing": 0.1},
}
processes = multiprocessing.get_context("spawn")


class FirstPassIsOver(Exception):
    """Raised to end the pass that measures how long a pass takes."""


def cpu_seconds() -> float:
    """Return the user and system time of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def train_for(minutes: float, family: str, address: str) -> list[Metrics]:
    """Return the reports of as many passes as fit into this CPU time; `cpu` is the CPU time since the start."""
    torch.set_num_threads(1)
    manifest = read_manifest(address)
    recipe = override(get_recipe(f"{family}-tiny"), {"images_per_epoch": None, **SETTINGS[family]})
    reports: list[Metrics] = []

    def one(report: TrialReport, save: Save) -> None:
        raise FirstPassIsOver

    def keep(report: TrialReport, save: Save) -> None:
        reports.append({**report.metrics, "cpu": cpu_seconds() - start})

    start = cpu_seconds()
    try:
        train(dataclasses.replace(recipe, epochs=1, warmup_epochs=0), manifest, report=one, device="cpu")
    except FirstPassIsOver:
        num_passes = max(2, int(60 * minutes / (cpu_seconds() - start)))
    start = cpu_seconds()
    train(_of_passes(recipe, num_passes), manifest, report=keep, device="cpu")
    return reports


def _of_passes(recipe: Recipe, num_passes: int) -> Recipe:
    warmup_epochs = min(recipe.warmup_epochs, num_passes - 1)
    return dataclasses.replace(recipe, epochs=num_passes, warmup_epochs=warmup_epochs)


def main() -> None:
    """Print a table with the learning curve of each family."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="?")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--families", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    options = parser.parse_args()
    shards = options.shards or str(sample_set())
    evaluation = Evaluation(read_manifest(shards), "val")
    keys = [key for key in ("mAP", "mINP", "cmc_1", "cmc_5", "top1", "top5") if key in evaluation.objectives]
    chance = evaluation.chance()
    print(f"{shards}: {options.minutes:g} CPU minutes each, one thread")
    print(f"{'family':14}" + "".join(f"{key:>8}" for key in keys) + "  passes   CPU s  s/pass  curve of " + keys[0])
    print(f"{'chance':14}" + "".join(f"{100 * chance[key]:8.2f}" for key in keys))
    for family in options.families:
        with processes.Pool(1) as pool:  # a new process each, so that none affects the time of another
            reports = pool.apply(train_for, (options.minutes, family, shards))
        last, curve = reports[-1], " ".join(f"{100 * report[keys[0]]:.1f}" for report in reports)
        row = f"{family:14}" + "".join(f"{100 * last[key]:8.2f}" for key in keys)
        print(f"{row}{len(reports):8}{last['cpu']:8.0f}{last['cpu'] / len(reports):8.1f}  {curve}", flush=True)


if __name__ == "__main__":
    main()
