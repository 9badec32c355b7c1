"""Accuracy by size: each class's own, and the few, medium and many of evaluate."""

from pathlib import Path

import numpy as np
import pytest

from platform.evaluation import evaluate_split
from platform.reporting.figures.answers import Answers, Rankings
from platform.reporting.figures.class_size import class_sizes, plot_class_size
from shards_tools.errors import Error
from shards_tools.manifest_file import read_manifest


def test_every_class_stands_at_its_training_images(names: Answers) -> None:
    figure = plot_class_size(names)
    assert [(name, images, queries) for name, images, queries, _ in figure.rows] == [
        (f"c{number:02d}", 2 + number, 3) for number in range(33)
    ]
    accuracy = [row[-1] for row in figure.rows]
    assert np.mean(accuracy) == pytest.approx(names.is_right_Q.mean())  # all have three queries


def test_the_bins_are_those_of_evaluate(names: Answers, naming_checkpoint: Path, class_shards: Path) -> None:
    metrics = evaluate_split(naming_checkpoint, read_manifest(class_shards), split="val", fold=None)["metrics"]
    bins = class_sizes(names).bins
    assert [(bin_.name, bin_.least, bin_.most) for bin_ in bins] == [("few", 2, 19), ("medium", 20, 34)]
    assert [bin_.accuracy for bin_ in bins] == pytest.approx([metrics["top1_few"], metrics["top1_medium"]])


def test_works_of_one_size_are_left_out(rankings: Rankings) -> None:
    with pytest.raises(Error, match="all works have 12 images"):
        plot_class_size(rankings)
