"""The study is the memory: opened twice it is the same search, or it is refused."""

import dataclasses
import multiprocessing
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path

import optuna
import pytest

from platform.lock import locked_file
from platform.resolved_search import ResolvedSearch
from platform.study import open_storage, open_study
from shards_tools.errors import Error
from tests.platform.searches import changed


def opened(search: ResolvedSearch) -> optuna.Study:
    return open_study(search, open_storage(search.stores.storage))


def test_the_baselines_wait_at_the_head_in_their_order(search: ResolvedSearch) -> None:
    study = opened(search)
    assert [trial.user_attrs["baseline"] for trial in study.trials] == ["paper row", "hand-set"]
    assert study.ask().user_attrs["baseline"] == "paper row"


def test_opening_again_adds_no_baseline(search: ResolvedSearch) -> None:
    opened(search)
    assert len(opened(search).trials) == 2


def test_a_baseline_that_a_killed_start_left_out_is_added(search: ResolvedSearch) -> None:
    first = {"paper row": search.setup.space.baselines["paper row"]}
    opened(changed(search, space=dataclasses.replace(search.setup.space, baselines=first)))
    assert [trial.user_attrs["baseline"] for trial in opened(search).trials] == ["paper row", "hand-set"]


def test_a_baseline_that_failed_is_tried_again_by_the_next_start(search: ResolvedSearch) -> None:
    study = opened(search)
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    waiting = opened(search).get_trials(states=(optuna.trial.TrialState.WAITING,))
    assert [trial.user_attrs["baseline"] for trial in waiting] == ["hand-set", "paper row"]


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--epochs", "3", "--epochs is 3"),
        ("--seed", "9", "--seed is 9"),
        ("--objective", "mINP", "--objective is mINP"),
    ],
)
def test_another_setting_on_a_stored_study_is_refused(
    search: ResolvedSearch, search_of: Callable[..., ResolvedSearch], option: str, value: str, named: str
) -> None:
    opened(search)
    with pytest.raises(Error, match=named):
        opened(search_of(option, value))


def test_trials_hours_and_concurrency_may_differ(
    search: ResolvedSearch, search_of: Callable[..., ResolvedSearch]
) -> None:
    opened(search)
    opened(search_of("--trials", 99, "--hours", 2, "--concurrency", 1))


def test_a_space_whose_range_changed_is_refused_by_name(
    search: ResolvedSearch, search_of: Callable[..., ResolvedSearch], small_space: Path
) -> None:
    opened(search)
    small_space.write_text(small_space.read_text().replace("1e-4, 1e-2", "1e-4, 1e-1"))
    with pytest.raises(Error, match=r"has changed since study .* lr was"):
        opened(search_of())


@pytest.mark.parametrize("url", ["nonsense", "mongodb://host/name", "sqlite:////proc/none/optuna.db"])
def test_a_storage_that_cannot_be_used_is_named(url: str) -> None:
    with pytest.raises(Error, match="--storage"):
        open_storage(url)


def _hold(path: Path, held: Event, free: Event) -> None:
    with locked_file(path, "s"):
        held.set()
        free.wait(30)


@pytest.mark.integration
def test_a_second_driver_is_refused_and_the_first_one_named(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    held, free = context.Event(), context.Event()
    first = context.Process(target=_hold, args=(tmp_path / "lock", held, free))
    first.start()
    assert held.wait(30)
    with pytest.raises(Error, match=f"is being run by process {first.pid}"), locked_file(tmp_path / "lock", "s"):
        pass
    free.set()
    first.join()
    with locked_file(tmp_path / "lock", "s"):
        pass
