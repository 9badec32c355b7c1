"""Several objectives: what is kept of them, who is the best, and what cannot be asked for."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from platform.objectives import directions, num_parameters
from platform.preflight.estimate import simulate_pruning
from platform.resolved_search import ResolvedSearch
from platform.samplers.registry import SAMPLERS
from platform.study import best_trial, front
from platform.terminal.lines import Display
from platform.tracking.journal import Journal
from platform.trials import Trials
from tests.platform.driver import mlflow_runs, run_search
from tests.platform.searches import met, reseed_for
from trainables.recipes import get_recipe
from trainables.recipes.settings import override
from trainables.training.trial_report import EarlyEnd, EndReason, TrialReport

OBJECTIVES = ("mAP", "num_parameters", "cmc_1")
NUM_EPOCHS = 4

ABLE = {name for name, entry in SAMPLERS.items() if entry.several_objectives}


@pytest.fixture
def search(search_of: Callable[..., ResolvedSearch]) -> ResolvedSearch:
    return search_of("--trials", 6, "--objective", *OBJECTIVES)


def books(study: optuna.Study, search: ResolvedSearch, journal: Journal) -> Trials:
    return Trials(study, search, journal, Display(study, search.goal))


def epoch(step: int, mAP: float, cmc_1: float = 0.5) -> TrialReport:
    scores = {"mAP": mAP, "cmc_1": cmc_1, "loss": 1.0}
    return TrialReport(metrics={"epoch": step, **scores, "images_per_second": 9.0, "time": time.time()})


def test_the_front_is_what_a_slow_loop_finds() -> None:
    draw = np.random.default_rng(0)
    study = optuna.create_study(directions=directions(OBJECTIVES))
    pairs = draw.integers(0, 8, (80, 2)).tolist()
    points = [[a, b, 8 - a + b - int(draw.integers(0, 3))] for a, b in pairs]  # what is good in one is bad in another
    for point in points:
        study.add_trial(optuna.trial.create_trial(values=point))
    study.add_trial(optuna.trial.create_trial(state=TrialState.PRUNED))

    def as_gains(point: list[int]) -> tuple[int, ...]:
        return (point[0], -point[1], point[2])

    def beaten(point: list[int]) -> bool:
        return any(
            all(o >= p for o, p in zip(as_gains(other), as_gains(point), strict=True)) and other != point
            for other in points
        )

    slow = [number for number, point in enumerate(points) if not beaten(point)]
    assert 10 < len(slow) < 60
    assert sorted(trial.number for trial in front(study)) == slow
    best = best_trial(study)
    assert best is not None
    assert best.number == min(slow, key=lambda number: (-points[number][0], number))


def test_the_values_of_a_trial_are_those_of_its_last_epoch(
    search: ResolvedSearch, study: optuna.Study, journal: Journal
) -> None:
    trials = books(study, search, journal)
    config = trials.start("a")
    assert config is not None
    for step in range(1, NUM_EPOCHS + 1):
        assert trials.report("a", epoch(step, 0.9 - step / 10, step / 10))
    trials.finish("a", died=False)
    first = study.trials[0]
    recipe = override(get_recipe(config["recipe"]), config["settings"])
    assert first.state == TrialState.COMPLETE
    assert first.values == [pytest.approx(0.5), num_parameters(recipe), pytest.approx(0.4)]


def test_nothing_is_pruned_however_bad(search: ResolvedSearch, study: optuna.Study, journal: Journal) -> None:
    trials = books(study, search, journal)
    for number in range(6):
        trials.start(f"attempt {number}")
        assert all(trials.report(f"attempt {number}", epoch(step, 0.5 - number / 20)) for step in range(1, 5))
        trials.finish(f"attempt {number}", died=False)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 6
    assert simulate_pruning(search.setup, search.method.pruner, 6) == [NUM_EPOCHS] * 6


def test_the_next_start_goes_on_with_what_ran_and_takes_no_epoch_twice(
    search: ResolvedSearch, study: optuna.Study, journal: Journal, tmp_path: Path
) -> None:
    trials = books(study, search, journal)
    trials.start("a")
    trials.report("a", epoch(1, 0.1))
    trials.report("a", epoch(2, 0.2))
    trials.checkpoint("a", str(tmp_path))
    second = books(study, search, journal)
    config = second.start("b")
    assert config is not None
    assert (config["trial"], config["resume"]) == (0, [str(tmp_path)])
    second.report("b", epoch(2, 0.7))  # from the checkpoint, again
    assert study.trials[0].user_attrs["metrics"]["mAP"] == 0.2
    second.report("b", epoch(3, 0.3))
    second.report("b", epoch(4, 0.4))
    second.finish("b", died=False)
    assert study.trials[0].values[0] == 0.4


def test_a_trial_that_cannot_train_leaves_the_sampler_able_to_go_on(
    search: ResolvedSearch, study: optuna.Study, journal: Journal
) -> None:
    """Optuna's TPE fails on values of epochs that a pruned trial of such a study would have."""
    trials = books(study, search, journal)
    trials.start("a")
    trials.report("a", epoch(1, 0.1))
    trials.end_early("a", EarlyEnd(EndReason.INFEASIBLE, "The loss is nan."))
    trials.finish("a", died=False)
    for _ in range(12):
        reseed_for(study, search)
        trial = study.ask()
        search.setup.space.recipe(trial, None)
        study.tell(trial, [0.5, 1e6, 0.4])
    assert [trial.state for trial in study.trials] == [TrialState.PRUNED, *[TrialState.COMPLETE] * 12]


@pytest.mark.integration
def test_tpe_draws_nothing_twice_and_every_named_sampler_can_do_it(search_of: Callable[..., ResolvedSearch]) -> None:
    for sampler in ABLE - {"grid"}:
        search = search_of("--objective", "mAP", "cmc_1", "--sampler", sampler)
        study = optuna.create_study(directions=directions(search.goal.objectives))
        for _ in range(14):
            reseed_for(study, search)
            trial = study.ask()
            x = trial.suggest_float("x", 0, 1)
            study.tell(trial, [x, 1 - x * x])
        assert len({trial.params["x"] for trial in study.trials}) == 14
    left = set(SAMPLERS) - ABLE
    assert left == {"cmaes", "rungwise"}


def test_one_objective_halves_and_several_do_not(search_of: Callable[..., ResolvedSearch]) -> None:
    one, several = search_of("--objective", "cmc_1"), search_of("--objective", "cmc_1", "mAP")
    assert (one.method.sampler, one.method.pruner, one.identity()["objective"]) == ("rungwise", "halving", "cmc_1")
    assert (several.method.sampler, several.method.pruner, several.identity()["objective"]) == (
        "tpe",
        "none",
        "cmc_1 mAP",
    )


def test_patience_waits_for_what_joins_the_front_and_the_target_is_of_the_first(
    search_of: Callable[..., ResolvedSearch], tmp_path: Path
) -> None:
    search = search_of("--objective", "mAP", "mINP", "--patience", 2, "--target", 0.9)
    study = optuna.create_study(directions=directions(search.goal.objectives))
    for values in ([0.5, 0.1], [0.4, 0.1], [0.1, 0.5], [0.1, 0.1]):
        study.tell(study.ask(), values)
        assert met(study, search) is None
    study.tell(study.ask(), [0.2, 0.2])
    assert met(study, search) is None  # it joined the front, between the two others
    for _ in range(2):
        study.tell(study.ask(), [0.1, 0.1])
    assert "since trial 4 were no better" in str(met(study, search))
    study.tell(study.ask(), [0.95, 0.0])
    assert met(study, search) == "trial 7 has reached --target 0.9"


@pytest.mark.parametrize(
    ("recipe", "millions"),
    [("transreid-vit-base", 85.8), ("agw-resnet50", 23.5)],  # ViT-B/16 and ResNet-50 without their classifiers
)
def test_the_parameters_of_known_networks(recipe: str, millions: float) -> None:
    assert num_parameters(get_recipe(recipe)) / 1e6 == pytest.approx(millions, rel=0.02)


@pytest.mark.slow
def test_a_search_of_two_objectives_shows_its_front(shards: Path, small_space: Path, tmp_path: Path) -> None:
    words = ("--space", small_space, "--data", shards, "--runs", tmp_path / "runs", "--trials", 3, "--epochs", 2)
    found, screen = run_search(*words, "--objective", "mAP", "ms_per_image")
    assert found["objective"] == ["mAP", "ms_per_image"]
    assert found["trials"] == {"complete": 3, "pruned": 0, "failed": 0}
    assert found["front"][0] == found["best"]
    assert all(len(entry["values"]) == 2 and entry["value"] == entry["values"][0] for entry in found["front"])
    speeds = [entry["values"][1] for entry in found["front"]]
    assert speeds == sorted(speeds, reverse=True)  # a trial that is worse in the first is faster
    assert "With several objectives no trial is pruned" in screen
    parent = next(run for run in mlflow_runs(tmp_path / "runs" / "mlflow.db") if "trial" not in run.data.tags)
    assert parent.data.tags["front"] == " ".join(str(entry["trial"]) for entry in found["front"])
    again, _ = run_search(*words, "--objective", "mAP", "ms_per_image")
    assert {**again, "seconds": 0} == {**found, "seconds": 0}
