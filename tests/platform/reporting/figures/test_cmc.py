"""CMC and top-k accuracy are what evaluate says, and what a slow loop finds."""

from pathlib import Path

import numpy as np
import pytest

from platform.evaluation import evaluate_split
from platform.reporting.figures.answers import Answers, Rankings
from platform.reporting.figures.cmc import cmc, plot_cmc
from shards_tools.manifest_file import read_manifest
from tests.platform.reporting.figures.by_hand import ranked_by_hand


def test_the_curve_is_what_a_slow_loop_finds_and_ends_with_the_gallery(rankings: Rankings) -> None:
    lists = list(ranked_by_hand(rankings.asked))
    num_gallery = len(rankings.asked.evaluation.gallery)
    slow = [np.mean([any(entry.is_right[:rank]) for entry in lists]) for rank in range(1, num_gallery + 1)]
    assert num_gallery < 50
    np.testing.assert_allclose(cmc(rankings).found, slow)
    assert slow[0] < slow[5] < 1  # or a wrong curve would pass


def test_the_drawn_numbers_are_those_of_evaluate(rankings: Rankings, ranking_checkpoint: Path, shards: Path) -> None:
    result = evaluate_split(ranking_checkpoint, read_manifest(shards), split="val", fold=None)
    rows = {rank: (found, chance) for rank, found, chance in plot_cmc(rankings).rows}
    for rank in (1, 5, 10, 20):
        assert rows[rank] == pytest.approx(
            (result["metrics"][f"cmc_{rank}"], result["chance"][f"cmc_{rank}"]), abs=1e-9
        )


def test_of_classes_it_is_top_k_accuracy(names: Answers, naming_checkpoint: Path, class_shards: Path) -> None:
    result = evaluate_split(naming_checkpoint, read_manifest(class_shards), split="val", fold=None)
    figure = plot_cmc(names)
    assert figure.title == "Top-k accuracy"
    assert figure.rows[0] == pytest.approx((1, result["metrics"]["top1"], 1 / 33))
    assert figure.rows[4] == pytest.approx((5, result["metrics"]["top5"], 5 / 33))
    assert figure.rows[-1] == pytest.approx((33, 1, 1))
    assert f"top-5 {100 * result['metrics']['top5']:.1f} %" in figure.caption


def test_what_is_pointed_at_is_what_is_drawn(rankings: Rankings) -> None:
    figure = plot_cmc(rankings)
    model, chance = figure.interactive.data
    np.testing.assert_allclose(np.stack([model.x, model.y, chance.y]).T, np.array(figure.rows) * (1, 100, 100))
