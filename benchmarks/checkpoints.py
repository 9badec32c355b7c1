"""Benchmark of what a checkpoint costs: on the training's thread, and in the background.

ViT-Stride of TransReID at the paper's shapes, with random weights and momentum. Writing it in the training's thread,
copying it for the background, and a bare safetensors write of the same tensors alternate in one run.
Run: python benchmarks/checkpoints.py.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from shards_tools.manifest_file import read_manifest
from shards_tools.sample import sample_set
from trainables.device import Device
from trainables.recipes import get_recipe
from trainables.recipes.settings import override
from trainables.training.background import BackgroundReports
from trainables.training.resume import CurrentCheckpoint
from trainables.training.train_state import TrainState, prepare
from trainables.training.trial_report import TrialReport

NUM_ROUNDS = 5
SETTINGS = {"pretrained": False, "works_per_batch": 4}  # the sample set has few works


def stepped() -> TrainState:
    """Return a training whose optimizer has its state, without the minutes of a real step on a CPU."""
    recipe = override(get_recipe("transreid-vit-stride"), SETTINGS)
    training = prepare(recipe, read_manifest(sample_set()), fold=0, seed=0, device=Device("cpu"), reading="offset")
    for group in training.optimizer.param_groups:
        for weight in group["params"]:
            weight.grad = torch.randn_like(weight)
    training.optimizer.step()
    training.optimizer.zero_grad()
    return training


def seconds_of(act: Callable[[], None]) -> tuple[float, float]:
    """Return wall seconds and CPU seconds of this thread."""
    wall, cpu = time.perf_counter(), time.thread_time()
    act()
    return time.perf_counter() - wall, time.thread_time() - cpu


def measure(training: TrainState, folder: Path) -> dict[str, list[tuple[float, float]]]:
    """Return the seconds of every round, the first of which allocates the buffers of the copy."""
    momentum = training.optimizer.state_dict()["state"]
    states = {f"{number}.momentum": state["momentum_buffer"] for number, state in momentum.items()}
    tensors = {**training.model.state_dict(), **states}
    current, report = CurrentCheckpoint(training, 1, {}, None), TrialReport(metrics={"epoch": 1})
    taken: dict[str, list[tuple[float, float]]] = {"bare": [], "write": [], "copy": []}
    with BackgroundReports(lambda report, save: save(folder / "own"), lambda save: None) as background:
        for _ in range(NUM_ROUNDS + 1):
            taken["bare"].append(seconds_of(lambda: save_file(tensors, folder / "bare")))
            taken["write"].append(seconds_of(lambda: current(folder / "own")))
            taken["copy"].append(seconds_of(lambda: background.report(report, current)))
            background.wait()
    return taken


def main() -> None:
    """Print bytes, and seconds on the training's thread, also relative to the bare write."""
    torch.set_num_threads(1)  # as a trial that shares the machine
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        taken = measure(stepped(), folder)
        num_bytes = sum(file.stat().st_size for file in (folder / "own").iterdir())
        print(f"checkpoint {num_bytes / 1e6:.0f} MB, bare {(folder / 'bare').stat().st_size / 1e6:.0f} MB")
    wall, cpu = taken["copy"][0]
    print(f"first copy, which allocates its buffers: {wall:.2f} s, {cpu:.2f} CPU seconds")
    bare_cpu = statistics.median(cpu for _, cpu in taken["bare"][1:])
    for name, rounds in taken.items():
        wall, cpu = (statistics.median(column) for column in zip(*rounds[1:], strict=True))
        print(f"{name}: {wall:.2f} s, {cpu:.2f} CPU seconds, {cpu / bare_cpu:.2f} x the bare write's CPU seconds")


if __name__ == "__main__":
    main()
