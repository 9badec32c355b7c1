"""The arithmetic of a table: mean, deviation, difference and chance, against the standard library."""

import math
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import TrialState

from platform.paper_tables.reproduction import Reproduction
from platform.paper_tables.results import Result
from shards_tools.manifest_file import read_manifest
from tests.platform.reproduce.conftest import RANKED, end_next, results_in, start
from trainables.evaluation.evaluation import Evaluation


def measured(reproduction: Reproduction, *values: float) -> dict[tuple[str, str], Result]:
    """The results by row and metric, the trainings having given these values in the order in which they run."""
    study = start(reproduction)
    for value in values:
        end_next(study, value=value, cmc_5=value / 2)
    return {(one.row, one.metric): one for one in results_in(reproduction, study)}


def test_every_row_has_every_metric_that_the_table_prints(reproduction_of: Callable[..., Reproduction]) -> None:
    rows = ("ViT-Small", "ViT-Stride")
    found = measured(reproduction_of("--rows", *rows))
    assert list(found) == [(row, metric) for row in rows for metric in RANKED]


def test_mean_and_deviation_are_those_of_the_trainings_in_percent(reproduction_of: Callable[..., Reproduction]) -> None:
    values = (0.25, 0.375, 0.8125)
    found = measured(reproduction_of("--rows", "ViT-Stride", "--seeds", 3), *values)
    entry = found["ViT-Stride", "mAP"].as_json()
    percent = [100 * value for value in values]
    assert entry["values"] == percent
    assert entry["mean"] == pytest.approx(statistics.mean(percent))
    assert entry["std"] == pytest.approx(statistics.stdev(percent))
    assert entry["printed"] == 42.24
    assert entry["difference"] == pytest.approx(statistics.mean(percent) - 42.24)
    assert found["ViT-Stride", "cmc_5"].mean == pytest.approx(statistics.mean(percent) / 2)


def test_values_of_several_folds_and_seeds_are_in_the_order_of_the_folds(
    reproduction_of: Callable[..., Reproduction], five_folds: Path
) -> None:
    options = ("--rows", "ViT-JPM", "--data", five_folds, "--folds", 2, "--seeds", 2)
    found = measured(reproduction_of(*options), 0.1, 0.2, 0.3, 0.4)  # seed 0 on both folds, then seed 1
    assert found["ViT-JPM", "mAP"].values == pytest.approx([10, 30, 20, 40])


def test_chance_is_the_mean_over_the_folds(reproduction_of: Callable[..., Reproduction], five_folds: Path) -> None:
    found = measured(reproduction_of("--rows", "ViT-JPM", "--data", five_folds, "--folds", 3))
    manifest = read_manifest(five_folds)
    of_folds = [100 * Evaluation(manifest, "val", fold).chance()["cmc_1"] for fold in range(3)]
    assert found["ViT-JPM", "cmc_1"].chance == pytest.approx(statistics.mean(of_folds))


def test_a_single_training_has_no_deviation(reproduction_of: Callable[..., Reproduction]) -> None:
    entry = measured(reproduction_of("--rows", "ViT-JPM"), 0.5)["ViT-JPM", "mAP"]
    assert entry.mean == 50
    assert math.isnan(entry.std)


def test_a_row_has_no_mean_before_all_of_its_trainings_are_complete(
    reproduction_of: Callable[..., Reproduction],
) -> None:
    entry = measured(reproduction_of("--rows", "ViT-JPM", "--seeds", 2), 0.5)["ViT-JPM", "mAP"]
    assert math.isnan(entry.mean)
    assert math.isnan(entry.difference)
    assert entry.values == [50]
    assert entry.status == "1/2"


@pytest.mark.parametrize("state", [TrialState.FAIL, TrialState.PRUNED])
def test_a_failed_training_is_counted_as_failed_until_it_has_run_again(
    state: TrialState, reproduction_of: Callable[..., Reproduction]
) -> None:
    reproduction = reproduction_of("--rows", "ViT-JPM", "--seeds", 2)
    study = start(reproduction)
    end_next(study, state)
    end_next(study, value=0.5)
    first = results_in(reproduction, study)[0]
    assert (first.status, math.isnan(first.mean)) == ("1/2, 1 failed", True)
    study = start(reproduction)
    end_next(study, value=0.25)
    first = results_in(reproduction, study)[0]
    assert (first.status, first.mean) == ("2/2", 37.5)


def test_what_was_left_out_is_not_failed(reproduction_of: Callable[..., Reproduction]) -> None:
    start(reproduction_of("--rows", "ViT-JPM", "--seeds", 2))
    start(reproduction_of("--rows", "ViT-Base"))
    reproduction = reproduction_of("--rows", "ViT-JPM")
    assert {one.status for one in results_in(reproduction, start(reproduction))} == {"0/1"}


def test_a_number_that_the_table_does_not_print_is_null() -> None:
    entry = Result(
        row="ViLT", recipe="any", metric="top5", printed=None, values=[50.0], num_wanted=1, num_failed=0, chance=1.0
    ).as_json()
    assert entry["printed"] is None
    assert math.isnan(entry["difference"])  # print_json makes null of it
