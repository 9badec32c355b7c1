"""Which trainings wait after a start: each that is wanted once, and none that is done."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from platform.fixed_trials import FixedTrials
from platform.paper_tables.reproduction import Reproduction
from platform.terminal.lines import Lines
from platform.tracking.journal import Journal
from shards_tools.errors import Error
from tests.platform.reproduce.conftest import end_next, start

TWO = ("--rows", "ViT-Base", "ViT-Stride")


def waiting(study: optuna.Study) -> list[tuple[Any, ...]]:
    """Row, fold and seed of each, in the order in which they run."""
    trials = study.get_trials(states=(TrialState.WAITING,))
    return [(trial.user_attrs["of"], *trial.user_attrs["training"].values()) for trial in trials]


def test_a_whole_table_with_the_first_seed_comes_first(
    reproduction_of: Callable[..., Reproduction], five_folds: Path
) -> None:
    study = start(reproduction_of(*TWO, "--seeds", 2, "--data", five_folds, "--folds", 2))
    rows = ("ViT-Base", "ViT-Stride")
    assert waiting(study) == [(row, fold, seed) for seed in (0, 1) for fold in (0, 1) for row in rows]


def test_the_same_start_again_enqueues_nothing(reproduction_of: Callable[..., Reproduction]) -> None:
    study = start(reproduction_of(*TWO))
    assert len(start(reproduction_of(*TWO)).trials) == len(study.trials) == 2


def test_more_seeds_folds_or_rows_enqueue_what_is_missing_alone(
    reproduction_of: Callable[..., Reproduction], five_folds: Path
) -> None:
    data = ("--data", five_folds)
    study = start(reproduction_of(*data, "--rows", "ViT-Base"))
    end_next(study)
    start(reproduction_of(*data, "--rows", "ViT-Base", "--seeds", 2))
    assert waiting(study) == [("ViT-Base", 0, 1)]
    end_next(study)
    start(reproduction_of(*data, "--rows", "ViT-Base", "--seeds", 2, "--folds", 2))
    assert waiting(study) == [("ViT-Base", 1, 0), ("ViT-Base", 1, 1)]
    end_next(study)
    end_next(study)
    start(reproduction_of(*data, *TWO, "--seeds", 2, "--folds", 2))
    assert waiting(study) == [("ViT-Stride", fold, seed) for seed in (0, 1) for fold in (0, 1)]


@pytest.mark.parametrize("state", [TrialState.FAIL, TrialState.PRUNED])
def test_a_training_that_gave_no_result_runs_again(
    state: TrialState, reproduction_of: Callable[..., Reproduction]
) -> None:
    study = start(reproduction_of(*TWO))
    end_next(study, state)
    end_next(study)
    start(reproduction_of(*TWO))
    assert waiting(study) == [("ViT-Base", 0, 0)]


def test_what_is_no_longer_wanted_does_not_run_and_can_be_wanted_again(
    reproduction_of: Callable[..., Reproduction],
) -> None:
    study = start(reproduction_of(*TWO, "--seeds", 2))
    start(reproduction_of("--rows", "ViT-Stride"))
    assert waiting(study) == [("ViT-Stride", 0, 0)]
    start(reproduction_of(*TWO))
    assert waiting(study) == [("ViT-Stride", 0, 0), ("ViT-Base", 0, 0)]


def test_a_row_whose_recipe_has_changed_is_refused_and_other_rows_are_not(
    reproduction_of: Callable[..., Reproduction],
) -> None:
    study = start(reproduction_of(*TWO))
    recipes = study.user_attrs["recipes"]
    study.set_user_attr("recipes", {**recipes, "ViT-Stride": {**recipes["ViT-Stride"], "lr": 0.5}})
    with pytest.raises(Error, match=r"transreid-vit-stride-tiny of row ViT-Stride has changed .* Start another study"):
        start(reproduction_of(*TWO))
    start(reproduction_of("--rows", "ViT-Base"))


def test_a_training_is_told_its_recipe_fold_and_seed(
    reproduction_of: Callable[..., Reproduction], five_folds: Path, journal: Journal
) -> None:
    reproduction = reproduction_of("--rows", "ViT-JPM", "--data", five_folds, "--folds", 2, "--epochs", 3)
    study = start(reproduction)
    end_next(study)
    trials = FixedTrials(study, reproduction.search, journal, Lines(["mAP"]))
    config = trials.start("only")
    assert config is not None
    assert [config[key] for key in ("recipe", "fold", "seed")] == ["transreid-vit-jpm-tiny", 1, 0]
    assert (config["settings"]["epochs"], config["settings"]["jpm"]) == (3, True)
    assert trials.start("no other") is None
    (event,) = [event for event in journal.read()[0] if event["kind"] == "trial"]
    assert event["name"] == "ViT-JPM, fold 1, seed 0"
    assert (event["params"]["fold"], event["params"]["seed"]) == (1, 0)
