"""Tables that print a test split: their trainings are evaluated on it, once."""

import shutil
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from platform.evaluation import evaluate_split
from platform.paper_tables.reproduction import Reproduction, resolve_reproduction
from platform.paper_tables.written import as_markdown, reproduced_table
from platform.reproduce import parser
from platform.resources import Machine
from platform.tracking.journal import Journal
from shards_tools.manifest_file import read_manifest
from tests.platform.reproduce.conftest import measured_in, results_from, start
from trainables.evaluation.evaluation import Evaluation
from trainables.recipes import get_recipe
from trainables.recipes.settings import override
from trainables.training.loop import train

ROW, RECIPE = "R-18", "dafre-128-r18-tiny"


@pytest.fixture
def reproduction(classes: Path, tmp_path: Path) -> Reproduction:
    """One row of dafre-1 on two classes, which have a test split."""
    words = ("dafre-1", "--data", classes, "--scale", "tiny", "--runs", tmp_path / "runs", "--rows", ROW)
    return resolve_reproduction(parser().parse_args(list(map(str, words))), Machine(2, 0))


@pytest.fixture
def trained(reproduction: Reproduction, tmp_path: Path) -> optuna.Study:
    """Its study after the one training, which has a real checkpoint."""
    study = start(reproduction)
    trial = study.ask()
    trial.suggest_categorical("row", tuple(reproduction.table.recipes))
    small = {"image_size": 16, "enlarge_px": 0, "epochs": 1, "batch_size": 8, "images_per_epoch": None}
    recipe = override(get_recipe(RECIPE), small)
    train(recipe, reproduction.search.setup.manifest, report=lambda report, save: save(tmp_path / "last"))
    trial.set_user_attr("checkpoint", str(tmp_path / "last"))
    trial.set_user_attr("metrics", {"top1": 0.123, "top5": 0.123})
    study.tell(trial, 0.123)
    return study


def test_the_row_has_the_metrics_of_the_test_split_and_each_checkpoint_is_evaluated_once(
    reproduction: Reproduction, trained: optuna.Study, tmp_path: Path
) -> None:
    expected = evaluate_split(tmp_path / "last", reproduction.search.setup.manifest, split="test", fold=None)["metrics"]
    with Journal(tmp_path / "journal.jsonl") as journal:
        first = measured_in(reproduction, trained, journal)
        shutil.rmtree(tmp_path / "last")
        again = measured_in(reproduction, trained, journal)
    assert list(first.values()) == list(again.values()) == [expected]
    result = results_from(reproduction, trained, first)[0]
    assert (result.row, result.metric, result.values) == (ROW, "top1", [100 * expected["top1"]])
    assert "mean: the test split of" in as_markdown(reproduced_table(reproduction, [result]))
    assert "test_top1" in (tmp_path / "journal.jsonl").read_text()


def test_a_new_journal_is_told_the_stored_metrics_once(
    reproduction: Reproduction, trained: optuna.Study, tmp_path: Path
) -> None:
    trained.set_user_attr("test 0", {"top1": 0.25, "top5": 1.0})
    with Journal(tmp_path / "journal.jsonl") as journal:
        for _ in range(2):
            measured_in(reproduction, trained, journal)
        (event,) = journal.read()[0]
    assert event["values"] == {"test_top1": 0.25, "test_top5": 1.0}


def test_an_interrupted_start_evaluates_nothing(
    reproduction: Reproduction, trained: optuna.Study, tmp_path: Path
) -> None:
    with Journal(tmp_path / "journal.jsonl") as journal:
        assert measured_in(reproduction, trained, journal, interrupted=True) == {}


def test_chance_is_that_of_the_test_split(reproduction: Reproduction, classes: Path) -> None:
    assert reproduction.split == "test"
    assert reproduction.search.goal.chance["top1"] == Evaluation(read_manifest(classes), "test").chance()["top1"]


def test_lsasrds_tables_are_measured_on_the_folds_that_validate(reproduction_of: Callable[..., Reproduction]) -> None:
    assert reproduction_of().split == "val"
