"""What a training reports, kept with its checkpoints."""

import random
from pathlib import Path

import torch

from trainables.evaluation.metric_names import SYSTEM
from trainables.training.checkpoint import load_model
from trainables.training.trial_report import Save, TrialReport

OF_THE_MOMENT = {"time", "seconds", "images_per_second", "ms_per_image", "rss_mb", *SYSTEM}


class Reports:
    """Keeps every report, and its checkpoint in the folder of its epoch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metrics: list[dict[str, float]] = []

    def __call__(self, report: TrialReport, save: Save) -> None:
        save(self.folder / str(report.epoch))
        self.metrics.append(report.metrics)
        random.random()  # a listener may draw numbers of its own
        torch.rand(3)

    def lasting(self) -> list[dict[str, float]]:
        return [{key: value for key, value in entry.items() if key not in OF_THE_MOMENT} for entry in self.metrics]


def state_of(folder: Path):
    """The weights and the state of a checkpoint."""
    model, _ = load_model(folder)
    return model.state_dict(), torch.load(folder / "state.pt", weights_only=True)


def assert_equal(first, second) -> None:
    """Equal to the bit, through dicts and lists."""
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_equal(first[key], second[key])
    elif isinstance(first, list | tuple):
        for one, other in zip(first, second, strict=True):
            assert_equal(one, other)
    else:
        assert first == second
