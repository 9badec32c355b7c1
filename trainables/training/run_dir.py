"""The output folder of one training: its settings, the metrics of every epoch and the last checkpoint."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

from shards_tools.errors import Error
from shards_tools.folders import write_durably
from shards_tools.manifest import Manifest
from trainables.evaluation.evaluation import with_nan, without_nan
from trainables.recipes.recipe import Recipe
from trainables.training.trial_report import Save, TrialReport

SETTINGS_NAME = "recipe.json"
METRICS_NAME = "metrics.jsonl"


class OutFolder:
    """The folder of a training. Equal settings resume it, more epochs extend it; other settings are rejected.

    Nothing is written before the first report.

    Attributes:
        former_epochs: the number of epochs before this start, if this start has more; otherwise None.

    Raises:
        Error: the folder holds another training or other files, or is damaged.
    """

    def __init__(self, folder: Path, recipe: Recipe, manifest: Manifest, *, fold: int, seed: int) -> None:
        self.folder = folder
        self.last = folder / "last"
        settings = {"recipe": dataclasses.asdict(recipe), "data": manifest.fingerprint, "fold": fold, "seed": seed}
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        self.former_epochs = self._find_former_epochs()
        self.metrics = self._read_metrics()

    def checkpoint(self) -> Path | None:
        """Return the last checkpoint, or None if there is none yet."""
        for place in (self.last, self._aside):  # the second if the process was killed between two renames
            if place.is_dir():
                return place
        return None

    def report(self, report: TrialReport, save: Save) -> None:
        """Write an epoch's checkpoint, then its metrics. An epoch that is already written is skipped."""
        if self.metrics and report.epoch <= self.metrics[-1]["epoch"]:
            return
        self.save_partial(save)
        self.metrics.append(report.metrics)
        lines = [json.dumps(without_nan(entry)) + "\n" for entry in self.metrics]
        write_durably(self.folder / METRICS_NAME, "".join(lines).encode())

    def save_partial(self, save: Save) -> None:
        """Write a checkpoint within an epoch."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_durably(self.folder / SETTINGS_NAME, (json.dumps(self.settings, indent=1) + "\n").encode())
        self._replace_last(save)

    @property
    def _aside(self) -> Path:
        return self.folder / ".last.old"

    def _replace_last(self, save: Save) -> None:
        """Swap in a new checkpoint; at every moment `last` or `.last.old` is complete."""
        beside = self.folder / ".last.new"
        shutil.rmtree(beside, ignore_errors=True)
        save(beside)
        if self.last.exists():
            shutil.rmtree(self._aside, ignore_errors=True)
            self.last.rename(self._aside)
        beside.rename(self.last)
        shutil.rmtree(self._aside, ignore_errors=True)

    def _find_former_epochs(self) -> int | None:
        """Return the epochs of the training in the folder if this start has more, else None.

        Raises:
            Error: the folder holds something else than this training.
        """
        path = self.folder / SETTINGS_NAME
        if not path.is_file():
            if self.folder.exists() and not (self.folder.is_dir() and not any(self.folder.iterdir())):
                raise Error(f"--out {self.folder} exists but was not written by a training. Use a new folder.")
            return None
        try:
            found = _flat(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, KeyError, AttributeError):
            raise Error(f"{path} is damaged. Use a new folder for --out.") from None
        asked, former_epochs = _flat(self.settings), None
        for key in sorted(found.keys() | asked.keys()):
            if key == "epochs" and found.get(key, asked[key]) < asked[key]:
                former_epochs = int(found[key])
            elif found.get(key) != asked.get(key):
                raise Error(
                    f"--out {self.folder} holds a training with {key}={found.get(key)!r}, not {asked.get(key)!r}. "
                    "Use a new folder, or the same settings to resume."
                )
        return former_epochs

    def _read_metrics(self) -> list[dict[str, float]]:
        path = self.folder / METRICS_NAME
        if not path.is_file():
            return []
        lines = path.read_text(encoding="utf-8").splitlines()
        return [with_nan(json.loads(line)) for line in lines]


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    return {**settings["recipe"], **{key: value for key, value in settings.items() if key != "recipe"}}
