"""Sections `rows`, `precision` and `resume`: whole trainings with the project's own loop."""

import functools
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from safetensors.torch import load_file

from benchmarks.window.networks import make_recipe
from benchmarks.window.session import DEVICE, Found, Session
from benchmarks.window.timing import free
from shards_tools.manifest import Manifest
from trainables.training import loop
from trainables.training.trial_report import Save, TrialReport

TABLE_5 = ("deit-small", "deit-stride", "vit-small", "vit-base", "vit-jpm", "vit-stride")


class Stopped(Exception):
    """Raised to end a training in the middle of an epoch."""


def train_rows(session: Session) -> Found:
    """Return the time of two epochs of each row of LSASRD's Table 5: training, evaluation and checkpoint."""
    manifest, rows = session.drawn(), []
    for name in ("vit-base", "vit-stride") if session.tiny else TABLE_5:
        free()
        num_images = 128 if session.tiny else 1280
        recipe = make_recipe(session, f"transreid-{name}", images_per_epoch=num_images, epochs=2, lr=1e-4)
        try:
            rows.append(_row(session, recipe, manifest))
        except Exception as failure:
            rows.append({"recipe": recipe.name, "error": f"{type(failure).__name__}: {str(failure)[:300]}"})
    return {"rows": rows}


def _row(session: Session, recipe: Any, manifest: Manifest) -> Found:
    saved: list[tuple[float, int]] = []  # seconds and bytes of each checkpoint
    told: list[Found] = []

    def keep(report: TrialReport, save: Save) -> None:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            save(Path(folder))
            num_bytes = sum(file.stat().st_size for file in Path(folder).iterdir())
        saved.append((time.perf_counter() - start, num_bytes))
        told.append(report.metrics)

    start = time.perf_counter()
    loop.train(recipe, manifest, report=keep, device=DEVICE.type)
    wall_s, last, split = time.perf_counter() - start, told[-1], manifest.split(0)
    train_s = recipe.images_per_epoch / last["images_per_second"]
    row = {
        "recipe": recipe.name,
        "wall_s": round(wall_s, 1),
        "epoch_s": round(last["seconds"], 2),
        "train_s": round(train_s, 2),
        "rest_s": round(last["seconds"] - train_s, 2),
        "val_images": len(split.val_query) + len(split.val_gallery),
        "images_per_second": round(last["images_per_second"], 1),
        "ms_per_image": last["ms_per_image"],
        "save_s": round(saved[-1][0], 2),
        "checkpoint_mb": saved[-1][1] / 1e6,
        **{key: last.get(key) for key in ("mAP", "loss", "gpu_mb")},
    }
    session.note(
        f"row {recipe.name:24} {row['images_per_second']:8.1f} images/s in the loop; train {row['train_s']} s,"
        f" evaluation and latency {row['rest_s']} s, checkpoint {row['save_s']} s"
    )
    return row


def compare_precisions(session: Session) -> Found:
    """Return learning curves of one network from scratch in bfloat16 and float32, two seeds each."""
    manifest, found = session.real(), {}
    sizes = {"epochs": 2, "images_per_epoch": 128} if session.tiny else {"epochs": 6, "images_per_epoch": 2048}
    schedule = {"warmup_epochs": 1, "milestones": (), "lr": 0.02}
    for precision in ("bf16", "fp32"):
        for seed in (0, 1):
            free()
            recipe = make_recipe(session, "agw-resnet50", image_size=128, precision=precision, **schedule, **sizes)
            told: list[Found] = []
            report = functools.partial(_keep, told)
            loop.train(recipe, manifest, report=report, seed=seed, device=DEVICE.type, reading="decoded")
            found[f"{precision}, seed {seed}"] = {
                "loss": [round(metrics["loss"], 4) for metrics in told],
                "mAP": [round(metrics["mAP"], 4) for metrics in told],
                "images_s": round(told[-1]["images_per_second"], 1),
            }
    session.note(f"precision: last mAP { {name: curves['mAP'][-1] for name, curves in found.items()} }")
    return found


def _keep(told: list[Found], report: TrialReport, save: Save) -> None:
    told.append(report.metrics)


class Runs:
    """Trainings of one recipe, each with a label and its last checkpoint."""

    def __init__(self, recipe: Any, manifest: Manifest, folder: Path) -> None:
        self._recipe, self._manifest, self.folder = recipe, manifest, folder
        self.told: dict[str, list[Found]] = {}

    def run(self, label: str, *, resume: Path | None = None, stop_after: int | None = None) -> None:
        """Train to the end; with `stop_after`, stop after that many batches and keep the checkpoint as `partial`."""
        told: list[Found] = []
        num_batches = 0

        def keep(report: TrialReport, save: Save) -> None:
            told.append(report.metrics)
            save(self.folder / label)

        def save_partial(save: Save) -> None:
            nonlocal num_batches
            num_batches += 1
            if num_batches == stop_after:
                save(self.folder / "partial")
                raise Stopped

        self.told[label] = told
        seconds = loop.PARTIAL_CHECKPOINT_SECONDS if stop_after is None else 0.0
        with mock.patch.object(loop, "PARTIAL_CHECKPOINT_SECONDS", seconds):
            loop.train(
                self._recipe,
                self._manifest,
                report=keep,
                save_partial=None if stop_after is None else save_partial,
                resume=resume,
                device=DEVICE.type,
                reading="decoded",
            )

    def difference(self, first: str, second: str) -> Found:
        """Return the differences between two trainings at their ends."""
        one, other = (_weights(self.folder / label) for label in (first, second))
        pair = (first, second)
        return {
            "weights_relative": float((one - other).norm() / one.norm()),
            "weights_equal": bool(torch.equal(one, other)),
            "losses": [[metrics["loss"] for metrics in self.told[label]] for label in pair],
            "mAP": [self.told[label][-1]["mAP"] for label in pair],
        }


def _weights(checkpoint: Path) -> torch.Tensor:
    return torch.cat([value.float().flatten() for value in load_file(checkpoint / "weights.safetensors").values()])


def compare_resumed(session: Session) -> Found:
    """Return the difference between a resumed and an undisturbed training, and between two undisturbed ones."""
    settings = {"image_size": 128, "epochs": 2, "lr": 1e-3, "erase_probability": 0.5}
    num_images = 64 if session.tiny else 512
    recipe = make_recipe(session, "transreid-vit-jpm", images_per_epoch=num_images, **settings)
    found: Found = {}
    for kind in ("as it is",) if session.tiny else ("as it is", "deterministic"):
        torch.use_deterministic_algorithms(kind == "deterministic", warn_only=True)
        with tempfile.TemporaryDirectory() as folder:
            found.update({f"{kind}: {key}": value for key, value in _resumed(session, recipe, Path(folder)).items()})
    torch.use_deterministic_algorithms(False)
    free()
    for key, value in found.items():
        session.note(f"resume {key}: {value['weights_relative'] if isinstance(value, dict) else value}")
    return found


def _resumed(session: Session, recipe: Any, folder: Path) -> Found:
    runs = Runs(recipe, session.real(), folder)
    runs.run("one")
    runs.run("two")
    num_batches = recipe.images_per_epoch // recipe.batch_size
    stopped = None
    try:
        runs.run("three", stop_after=num_batches + (2 if num_batches > 2 else 1))  # within the second epoch
    except Stopped:
        stopped = "stopped"
    torch.manual_seed(99)  # resuming must restore the random states
    runs.run("four", resume=folder / "partial")
    differences = {
        f"{one} and {other}": runs.difference(one, other) for one, other in (("one", "two"), ("one", "four"))
    }
    return {"stopped": stopped, **differences}
