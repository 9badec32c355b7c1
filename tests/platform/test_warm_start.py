"""A study that begins with the best settings of an earlier one: which they are, and what is refused or left out."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from platform.resolved_search import ResolvedSearch
from platform.search import main
from platform.study import open_storage, open_study
from platform.warm_start import MOST, earlier_settings, enqueue_settings
from shards_tools.errors import Error
from tests.platform.driver import mlflow_runs, run_search, stored_trials

pytestmark = pytest.mark.integration


def earlier(
    search_of: Callable[..., ResolvedSearch], num_trials: int, *options: object
) -> dict[int, tuple[float, float]]:
    """An earlier study: two baselines, then trials of rising value but for every fifth, which is pruned; their lr."""
    search = search_of("--study", "earlier", "--seed", 5, "--epochs", 2, *options)
    study = open_study(search, open_storage(search.stores.storage))
    for _ in range(2):
        study.tell(study.ask(), 0.99)
    drawn = {}
    for number in range(2, 2 + num_trials):
        study.sampler = optuna.samplers.RandomSampler(seed=number)
        trial = study.ask()
        search.setup.space.recipe(trial, None)
        if number % 5 == 0:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, number / 100)
            drawn[number] = (number / 100, trial.params["lr"])
    return drawn


def begun(search: ResolvedSearch) -> optuna.Study:
    settings = earlier_settings(search.method, search.setup, search.stores)
    study = open_study(search, open_storage(search.stores.storage))
    enqueue_settings(study, settings)
    return study


def test_the_best_quarter_waits_behind_the_baselines_with_no_value(search_of: Callable[..., ResolvedSearch]) -> None:
    drawn = earlier(search_of, 20)
    study = begun(search_of("--study", "new", "--warm-start", "earlier"))
    best = sorted(drawn, key=lambda number: -drawn[number][0])[: 20 // 4]
    assert [trial.user_attrs.get("baseline") for trial in study.trials[:2]] == ["paper row", "hand-set"]
    assert [trial.user_attrs["warm_start"] for trial in study.trials[2:]] == [f"earlier/{number}" for number in best]
    assert all(trial.state == TrialState.WAITING and trial.values is None for trial in study.trials)
    for _ in range(2):
        study.tell(study.ask(), 0.1)
    trial = study.ask()
    search_of().setup.space.recipe(trial, None)
    assert trial.params["lr"] == drawn[best[0]][1]


def test_no_more_than_ten_are_taken(search_of: Callable[..., ResolvedSearch]) -> None:
    earlier(search_of, 60)
    assert len(begun(search_of("--study", "new", "--warm-start", "earlier")).trials) == 2 + MOST


def test_the_next_start_takes_none_twice_and_needs_the_earlier_study_no_more(
    search_of: Callable[..., ResolvedSearch],
) -> None:
    earlier(search_of, 8)
    search = search_of("--study", "new", "--warm-start", "earlier")
    before = len(begun(search).trials)
    optuna.delete_study(study_name="earlier", storage=search.stores.storage)
    assert len(begun(search).trials) == before == 4


def test_a_start_that_was_killed_in_mid_way_is_made_whole(search_of: Callable[..., ResolvedSearch]) -> None:
    earlier(search_of, 20)
    search = search_of("--study", "new", "--warm-start", "earlier")
    settings = earlier_settings(search.method, search.setup, search.stores)
    study = open_study(search, open_storage(search.stores.storage))
    study.set_user_attr("warm_start", settings)
    source, params = next(iter(settings.items()))
    study.enqueue_trial(params, user_attrs={"warm_start": source})
    assert [trial.user_attrs["warm_start"] for trial in begun(search).trials[2:]] == list(settings)


def test_what_lies_outside_of_the_space_is_left_out_and_said(
    search_of: Callable[..., ResolvedSearch], small_space: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = earlier(search_of, 40)
    best = sorted(drawn, key=lambda number: -drawn[number][0])[:10]
    middle = sorted(drawn[number][1] for number in best)[5]
    small_space.write_text(small_space.read_text().replace("1e-4, 1e-2", f"1e-4, {middle!r}"))
    small_space.write_text(small_space.read_text().replace('"lr": 1e-3', '"lr": 2e-4'))
    study = begun(search_of("--study", "new", "--warm-start", "earlier"))
    inside = [f"earlier/{number}" for number in best if drawn[number][1] <= middle]
    assert [trial.user_attrs["warm_start"] for trial in study.trials[2:]] == inside
    screen = capsys.readouterr().err
    assert len(re.findall(r"earlier/\d+ is skipped: .*lr=.* is outside ", screen)) == 10 - len(inside)
    assert f"Warm start: {len(inside)} settings of study earlier" in screen


def test_a_space_with_one_more_parameter_takes_nothing_and_says_why(
    search_of: Callable[..., ResolvedSearch], small_space: Path
) -> None:
    earlier(search_of, 8)
    jpm = '"jpm": trial.suggest_categorical("jpm", (False,)), "lr": trial'
    text = small_space.read_text().replace('"lr": trial', jpm)
    small_space.write_text(text.replace('{"erase', '{"jpm": False, "erase'))
    search = search_of("--study", "new", "--warm-start", "earlier")
    with pytest.raises(Error, match=r"none of its settings can be used here\. earlier/\d+ is skipped: .*jpm"):
        earlier_settings(search.method, search.setup, search.stores)


def test_another_space_is_refused_and_nothing_is_stored(
    search_of: Callable[..., ResolvedSearch], small_space: Path, shards: Path, tmp_path: Path
) -> None:
    earlier(search_of, 8)
    other = small_space.rename(tmp_path / "other.py")
    words = ["--space", other, "--data", shards, "--runs", tmp_path / "runs", "--warm-start", "earlier"]
    with pytest.raises(Error, match="--warm-start earlier searched space 'small', but this study searches 'other'"):
        main([*map(str, words), "--study", "new"])
    assert optuna.get_all_study_names(f"sqlite:///{tmp_path / 'runs' / 'optuna.db'}") == ["earlier"]


def test_a_study_that_there_is_not_is_named_with_the_nearest(search_of: Callable[..., ResolvedSearch]) -> None:
    earlier(search_of, 4)
    with pytest.raises(Error, match=r"'earlyer' is not a known study for --warm-start\. Did you mean 'earlier'"):
        begun(search_of("--study", "new", "--warm-start", "earlyer"))


def test_it_is_part_of_what_a_study_is(search_of: Callable[..., ResolvedSearch]) -> None:
    earlier(search_of, 8)
    begun(search_of("--study", "new", "--warm-start", "earlier"))
    with pytest.raises(Error, match="--warm-start"):
        begun(search_of("--study", "new"))


def test_the_front_of_an_earlier_study_of_several_objectives_comes_first(
    search_of: Callable[..., ResolvedSearch],
) -> None:
    search = search_of("--study", "earlier", "--objective", "mAP", "cmc_1")
    study = open_study(search, open_storage(search.stores.storage))
    values: list[Any] = [(0.1, 0.1)] * 2 + [(0.5, 0.5), (0.49, 0.4), (0.2, 0.9), (0.1, 0.1), (0.1, 0.2), (0.1, 0.3)]
    values += [(0.05, 0.05)] * 4
    for pair in values:
        trial = study.ask()
        search.setup.space.recipe(trial, None)
        study.tell(trial, pair)
    new = search_of("--study", "new", "--warm-start", "earlier")
    assert list(earlier_settings(new.method, new.setup, new.stores)) == [
        "earlier/2", "earlier/4", "earlier/3"
    ]  # fmt: skip


@pytest.mark.slow
def test_a_search_begins_with_what_another_database_has(shards: Path, small_space: Path, tmp_path: Path) -> None:
    words = ("--space", small_space, "--data", shards, "--epochs", 2)
    first = tmp_path / "first"
    run_search(*words, "--runs", first, "--study", "first", "--trials", 6, "--pruner", "none")
    given = ("--warm-start", "first", "--warm-start-storage", f"sqlite:///{first / 'optuna.db'}")
    _, screen = run_search(*words, "--runs", tmp_path / "second", "--trials", 3, "--seed", 3, *given)
    warm = stored_trials(tmp_path / "second" / "optuna.db")[2]
    assert warm.params in [trial.params for trial in stored_trials(first / "optuna.db")[2:]]
    assert f"trial 2 ({warm.user_attrs['warm_start']})" in screen
    runs = mlflow_runs(tmp_path / "second" / "mlflow.db")
    assert [run.data.tags.get("warm_start") for run in runs if run.data.tags.get("trial") == "2"] == [
        warm.user_attrs["warm_start"]
    ]
