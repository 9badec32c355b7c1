"""Section `one_step`: the epoch that `--dry-run` projects from measured steps, compared with a real one."""

import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks.window.children import Child
from benchmarks.window.networks import make_recipe
from benchmarks.window.session import DEVICE, Found, Session
from trainables.profiling.measure_step import measure
from trainables.training.loop import train
from trainables.training.trial_report import Save, TrialReport

NAMES = ("transreid-vit-stride", "agw-resnet50")
MEMORY_BYTES = 8 * 10**9  # of the host


def measure_first_steps(session: Session) -> Found:
    """Return the measurement of each recipe, made in a separate process as in a search."""
    session.drawn_shards()
    found = {
        make_recipe(session, name).name: Child(session, "one_step", name=name).result(timeout_s=90) for name in NAMES
    }
    session.note(
        f"dry run: projected / real epoch { {name: round(step['factor'], 2) for name, step in found.items()} }"
    )
    return found


def measure_first_step(session: Session, name: str) -> Found:
    """Return the project's measurement, the projected and the real seconds of an epoch, and their ratio; in a child."""
    recipe = make_recipe(session, name, images_per_epoch=128 if session.tiny else 1280, epochs=2, lr=1e-4)
    manifest = session.drawn()
    step = measure(recipe, manifest, fold=0, seed=0, reading="auto", memory_bytes=MEMORY_BYTES)
    ends: list[float] = []

    def report(report: TrialReport, save: Save) -> None:
        with tempfile.TemporaryDirectory() as folder:
            save(Path(folder))
        ends.append(time.perf_counter())

    train(recipe, manifest, report=report, device=DEVICE.type)
    projected_s, real_s = step.epoch_s(), ends[1] - ends[0]
    return {**asdict(step), "projected_epoch_s": projected_s, "epoch_s": real_s, "factor": projected_s / real_s}
