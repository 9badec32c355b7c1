"""Limits: who is over them ends, before training where that can be known, is learned from, and is never the best."""

import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from platform.resolved_search import ResolvedSearch
from platform.samplers.rungwise import RungwiseSampler
from platform.spaces.constraints import is_over
from platform.study import best_trial, front, open_storage, open_study
from platform.terminal.lines import Display
from platform.tracking.journal import Journal
from platform.trials import Trials
from tests.platform.driver import mlflow_runs, run_search, stored_trials
from tests.platform.searches import reseed_for, suggestions_of
from trainables.training.trial_report import TrialReport

NUM_EPOCHS = 4
# Two networks, of 173,504 and 259,008 parameters; the second row by hand takes the larger one.
SPACE = """
def suggest(trial):
    return {
        "recipe": "transreid-tiny",
        "backbone": trial.suggest_categorical("backbone", ("vit_64x3", "vit_96x2")),
        "image_size": 32,
        "images_per_epoch": 128,
        "works_per_batch": 4,
        "images_per_work": 4,
        "epochs": 4,
        "lr": trial.suggest_float("lr", 1e-4, 1e-2, log=True),
    }


BASELINES = {"small row": {"backbone": "vit_64x3", "lr": 1e-3}, "large row": {"backbone": "vit_96x2", "lr": 1e-3}}
"""
LIMIT = "num_parameters=0.2e6"


@pytest.fixture
def small_space(tmp_path: Path) -> Path:
    path = tmp_path / "sizes.py"
    path.write_text(SPACE)
    return path


def started(search: ResolvedSearch, journal: Journal) -> tuple[optuna.Study, Trials]:
    study = open_study(search, open_storage(search.stores.storage))
    return study, Trials(study, search, journal, Display(study, search.goal))


def epoch(step: int, value: float = 0.5, ms: float = 1.0) -> TrialReport:
    return TrialReport(metrics={
        "epoch": step, "mAP": value, "cmc_1": value, "loss": 1.0, "images_per_second": 9.0, "time": time.time(),
        "ms_per_image": ms,
    })  # fmt: skip


def run(trials: Trials, attempt: str, value: float = 0.5, ms: float = 1.0) -> int:
    """The epochs that the next trial ran for."""
    assert trials.start(attempt) is not None
    for step in range(1, NUM_EPOCHS + 1):
        if not trials.report(attempt, epoch(step, value, ms)):
            break
    trials.finish(attempt, died=False)
    return step


def test_a_network_that_is_too_large_is_never_trained(
    search_of: Callable[..., ResolvedSearch], journal: Journal
) -> None:
    study, trials = started(search_of("--trials", 14, "--at-most", LIMIT, "--pruner", "none"), journal)
    number = 0
    while not trials.done:
        config = trials.start(f"attempt {number}")
        if config is None:
            break
        if number != 1:  # the large row
            assert config["settings"]["backbone"] == "vit_64x3"
        for step in range(1, NUM_EPOCHS + 1):
            trials.report(f"attempt {number}", epoch(step))
        trials.finish(f"attempt {number}", died=False)
        number += 1
    large = [trial for trial in study.trials[2:] if trial.params["backbone"] == "vit_96x2"]
    assert large
    for trial in large:
        assert (trial.state, trial.intermediate_values) == (TrialState.PRUNED, {})
        assert trial.user_attrs["reason"] == "num_parameters 0.26 M, --at-most 0.20 M"
        assert trial.constraints == {"num_parameters": pytest.approx(259_008 / 200_000 - 1)}
    assert len(study.trials) == 14
    states = {event["trial"]: event["state"] for event in journal.read()[0] if event["kind"] == "end"}
    assert len(states) == 14  # MLflow is told of every one


def test_what_is_measured_is_judged_by_the_first_report(
    search_of: Callable[..., ResolvedSearch], journal: Journal
) -> None:
    study, trials = started(search_of("--trials", 9, "--at-most", "ms_per_image=2", "--pruner", "none"), journal)
    for row in range(2):
        run(trials, f"row {row}")
    assert run(trials, "slow", ms=2.5) == 1
    assert run(trials, "fast", ms=2.0) == NUM_EPOCHS
    assert study.trials[2].state == TrialState.PRUNED
    assert study.trials[2].user_attrs["reason"] == "ms_per_image 2.5 ms, --at-most 2 ms"
    assert [is_over(trial) for trial in study.trials] == [False, False, True, False]
    trials.start("later")
    assert trials.report("later", epoch(1, ms=1.0))
    assert trials.report("later", epoch(2, ms=9.0))  # the machine was busy


def test_a_baseline_over_the_limit_runs_to_its_end_and_is_never_the_best(
    search_of: Callable[..., ResolvedSearch], journal: Journal
) -> None:
    study, trials = started(search_of("--at-most", LIMIT), journal)
    assert run(trials, "small", value=0.3) == NUM_EPOCHS
    assert run(trials, "large", value=0.9) == NUM_EPOCHS
    assert study.trials[1].state == TrialState.COMPLETE
    best = best_trial(study)
    assert best is not None
    assert best.number == 0
    assert best.number == study.best_trial.number  # what Optuna says


def test_the_front_holds_nothing_over_the_limit(search_of: Callable[..., ResolvedSearch], journal: Journal) -> None:
    study, trials = started(search_of("--at-most", LIMIT, "--objective", "mAP", "cmc_1"), journal)
    run(trials, "small", value=0.3)
    run(trials, "large", value=0.9)
    assert [trial.number for trial in front(study)] == [0]


def test_nobody_has_to_beat_a_baseline_that_is_not_allowed(
    search_of: Callable[..., ResolvedSearch], journal: Journal
) -> None:
    study, trials = started(search_of("--trials", 9, "--at-most", LIMIT), journal)
    run(trials, "small", value=0.1)
    run(trials, "large", value=0.9)
    assert run(trials, "first", value=0.2) == NUM_EPOCHS
    assert all("completed_rung_0" not in key for key in study.trials[1].system_attrs)


def test_a_trial_that_was_over_when_its_driver_was_killed_is_ended_by_the_next(
    search_of: Callable[..., ResolvedSearch], journal: Journal
) -> None:
    search = search_of("--trials", 9, "--at-most", "ms_per_image=2", "--concurrency", 1)
    study, trials = started(search, journal)
    for row in range(2):
        run(trials, f"row {row}")
    trials.start("a")
    assert not trials.report("a", epoch(1, ms=3.0))
    following = Trials(study, search, journal, Display(study, search.goal))
    config = following.start("b")
    assert config is not None
    assert config["trial"] == 3
    assert study.trials[2].state == TrialState.PRUNED


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "rungwise"])
def test_samplers_keep_away_from_what_is_over(
    sampler: str, search_of: Callable[..., ResolvedSearch], journal: Journal, small_space: Path
) -> None:
    """Three networks of four are too large: 15 of 20 random draws are, and fewer once the study knows."""
    small_space.write_text(SPACE.replace('"vit_96x2"))', '"vit_96x2", "vit_128x2", "vit_96x4"))'))
    study, trials = started(search_of("--trials", 60, "--at-most", LIMIT, "--sampler", sampler), journal)
    number = 0
    while trials.start(f"attempt {number}") is not None:
        for step in range(1, NUM_EPOCHS + 1):
            if not trials.report(f"attempt {number}", epoch(step, 0.3)):
                break
        trials.finish(f"attempt {number}", died=False)
        number += 1
    over = [is_over(trial) for trial in study.trials]
    assert sum(over[2:12]) >= 4
    assert sum(over[-20:]) <= 11


def suggest_x(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1)


def test_a_good_trial_over_the_limit_teaches_the_rungwise_sampler_nothing_good() -> None:
    study = optuna.create_study(direction="maximize")
    for number in range(40):
        x = number / 40
        study.add_trial(
            optuna.trial.create_trial(
                value=x,
                params={"x": x},
                distributions={"x": optuna.distributions.FloatDistribution(0, 1)},
                intermediate_values={2: x},
                constraints={"num_parameters": x - 0.5},
            )
        )
    drawn = []
    for seed in range(100):
        study.sampler = RungwiseSampler(suggest_x, (2,), seed=seed)
        trial = study.ask()
        drawn.append(suggest_x(trial))
        study.tell(trial, state=TrialState.FAIL)
    assert sum(0.3 < x <= 0.55 for x in drawn) > 50
    assert sum(x > 0.55 for x in drawn) < 30


def test_the_largest_training_of_a_dry_run_keeps_to_the_limit_or_is_a_row_by_hand(
    search_of: Callable[..., ResolvedSearch], small_space: Path
) -> None:
    larger = SPACE.replace('"vit_96x2"))', '"vit_96x2", "vit_192x4"))')
    for row, largest in (("vit_96x2", "vit_64x3"), ("vit_192x4", "vit_192x4")):  # three blocks keep more than two
        small_space.write_text(larger.replace('"large row": {"backbone": "vit_96x2"', f'"row": {{"backbone": "{row}"'))
        assert suggestions_of(search_of()).largest().params["backbone"] == "vit_192x4"
        draws = suggestions_of(search_of("--at-most", LIMIT))
        assert draws.largest().params["backbone"] == largest
        assert draws.usual().params["backbone"] == "vit_64x3"


def test_gaussian_processes_take_the_constraints(search_of: Callable[..., ResolvedSearch], journal: Journal) -> None:
    search = search_of("--at-most", LIMIT, "ms_per_image=2", "--trials", 16, "--sampler", "gp", "--pruner", "none")
    study, trials = started(search, journal)
    number = 0
    while trials.start(f"attempt {number}") is not None:
        for step in range(1, NUM_EPOCHS + 1):
            if not trials.report(f"attempt {number}", epoch(step, 0.3, 1 + number % 3)):
                break
        trials.finish(f"attempt {number}", died=False)
        number += 1
    reseed_for(study, search)
    assert len(study.trials) == 16


@pytest.mark.slow
def test_a_search_with_a_limit_says_what_was_over_it(shards: Path, small_space: Path, tmp_path: Path) -> None:
    words = ("--space", small_space, "--data", shards, "--runs", tmp_path / "runs", "--trials", 8, "--epochs", 2)
    found, screen = run_search(*words, "--at-most", LIMIT)
    trials = stored_trials(tmp_path / "runs" / "optuna.db")
    over = [trial for trial in trials if is_over(trial)]
    assert found["best"]["params"]["backbone"] == "vit_64x3"
    assert f"{len(over)} of them were over --at-most num_parameters=200000." in screen
    assert "large row (over)" in screen
    states = {int(run.data.tags["trial"]): run.data.tags["state"] for run in mlflow_runs(tmp_path / "runs/mlflow.db")
              if "trial" in run.data.tags}  # fmt: skip
    assert states == {trial.number: trial.state.name for trial in trials}
