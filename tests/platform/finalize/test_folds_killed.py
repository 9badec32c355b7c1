"""No kill while the best trials are trained on other folds loses or doubles anything."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from platform.finalize.cross_validation import Folds
from platform.fixed_trials import newest, training_of
from platform.resilient_storage import PatientStorage
from platform.resolved_search import ResolvedSearch
from platform.study import open_storage, open_study
from platform.tracking.journal import Journal
from tests.platform.driver import address_of, kill_driver, mlflow_runs, run_search, started_search, wait_until
from tests.platform.trainings_by_hand import lucky_third, run_to_the_end, search_by_hand

NUM_TRIALS = 6


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.slow
def test_a_start_that_ends_at_any_call_of_the_database_ends_as_the_undisturbed_one(
    search_of: Callable[..., ResolvedSearch], five_folds: Path, tmp_path: Path
) -> None:
    options = ("--data", five_folds, "--trials", NUM_TRIALS, "--pruner", "none", "--sampler", "random")
    search = search_of(*options, "--folds", 3, "--concurrency", 1)
    storage = open_storage(search.stores.storage)
    with Journal(tmp_path / "journal.jsonl") as journal:
        search_by_hand(open_study(search, storage), search, journal, lucky_third, tmp_path / "search")
        searched = (tmp_path / "runs" / "optuna.db").read_bytes()
        calls = Calls(None)
        storage.fence = calls
        start_over(search, storage, journal, tmp_path / "undisturbed")
        undisturbed, events = told_by(storage, search), parts_of(journal)
    for fraction in (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95):
        place = tmp_path / f"killed at {fraction}"
        place.mkdir()
        (place / "optuna.db").write_bytes(searched)
        killed = open_storage(address_of(place / "optuna.db"))
        killed.fence = Calls(round(fraction * calls.num))
        with Journal(place / "journal.jsonl") as journal:
            with pytest.raises(Killed):
                start_over(search, killed, journal, place)
            killed.fence = lambda again: None
            start_over(search, killed, journal, place)
            assert told_by(killed, search) == undisturbed, fraction
            assert parts_of(journal) == events, fraction


class Calls:
    """Counts the calls of a storage, and ends the process at one of them; None: at none."""

    def __init__(self, last: int | None) -> None:
        self.num, self._last = 0, last

    def __call__(self, again: bool) -> None:
        self.num += 1
        if self.num == self._last:
            raise Killed


def start_over(search: ResolvedSearch, storage: PatientStorage, journal: Journal, checkpoints: Path) -> None:
    """A start of the folds of a search that is done."""
    folds = Folds(optuna.load_study(study_name=search.stores.study, storage=storage), search, storage, journal)
    folds.enlist()
    trainings = folds.make_trainings()
    of = lambda config: training_of(folds.trainings.trials[config["trial"]]).of  # noqa: E731
    run_to_the_end(trainings, lambda config: lucky_third(of(config), config["fold"], config["seed"]), checkpoints)


def told_by(storage: PatientStorage, search: ResolvedSearch) -> list[Any]:
    """What the two studies hold, each trial once: numbers, states, parameters and every value."""
    told = []
    for part in ("folds", "fold-trainings"):
        trials = optuna.load_study(study_name=f"{search.stores.study}-{part}", storage=storage).trials
        told += [(trial.number, trial.state, trial.params, trial.value, trial.intermediate_values) for trial in trials]
    return told


def parts_of(journal: Journal) -> list[Any]:
    """What MLflow is told of folds, without the times of means."""
    events = [event for event in journal.read()[0] if event.get("part")]
    return sorted(({**event, "time": 0} for event in events), key=lambda event: json.dumps(event, sort_keys=True))


def options(space: Path, shards: Path, runs: Path) -> list[object]:
    words = ["--space", space, "--data", shards, "--runs", runs, "--trials", 2, "--epochs", 2, "--folds", 3]
    return [*words, "--concurrency", 1]


@pytest.mark.slow
def test_a_search_killed_in_the_middle_of_its_folds_ends_as_the_undisturbed_one(
    small_space: Path, five_folds: Path, tmp_path: Path
) -> None:
    undisturbed, _ = run_search(*options(small_space, five_folds, tmp_path / "undisturbed"))
    runs = tmp_path / "killed"
    with started_search(*options(small_space, five_folds, runs)) as search:
        second = lambda: any(runs.glob("*/fold-trainings/start-001/trial-0001-1/checkpoint_000000"))  # noqa: E731
        wait_until(second, 400, "a checkpoint of the second training")
        kill_driver(search)
    killed, screen = run_search(*options(small_space, five_folds, runs))
    assert "resume from their last checkpoint" in screen
    assert [entry["values"] for entry in killed["folds"]] == [entry["values"] for entry in undisturbed["folds"]]
    assert killed["best"]["trial"] == undisturbed["best"]["trial"] == killed["folds"][0]["trial"]
    for folder in ("undisturbed", "killed"):
        rows = mlflow_runs(tmp_path / folder / "mlflow.db")
        assert len(rows) == 3  # a parent and two trials: folds are numbers on these
        for run in rows:
            if "trial" in run.data.tags:
                entry = next(one for one in killed["folds"] if one["trial"] == int(run.data.tags["trial"]))
                assert run.data.metrics["mean_mAP"] == pytest.approx(entry["mean"])
                assert run.data.metrics["fold_2_mAP"] == pytest.approx(entry["values"]["2"])
    trainings = optuna.load_study(
        study_name=f"{killed['study']}-fold-trainings", storage=f"sqlite:///{runs / 'optuna.db'}"
    )
    assert [trial.state for trial in trainings.trials] == [TrialState.COMPLETE] * 4
    assert len(newest(trainings)) == 4
