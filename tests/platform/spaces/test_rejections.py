"""A space rejects combinations by raising `optuna.TrialPruned` in `suggest`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from platform.resolved_search import ResolvedSearch
from platform.samplers.rungwise import RungwiseSampler
from platform.spaces.loading import load_space
from platform.spaces.points import sample
from platform.study import open_storage, open_study
from platform.terminal.lines import Display
from platform.tracking.events import rebuild
from platform.tracking.journal import Journal
from platform.trials import Trials
from shards_tools.errors import Error
from tests.platform.searches import reseed_for, suggestions_of

SPACE = """
import optuna

def suggest(trial):
    size, stride = trial.suggest_categorical("size", (32, 48)), trial.suggest_categorical("stride", (2, 8))
    if size == 48 and stride == 2:
        raise optuna.TrialPruned("too slow")
    return {"recipe": "transreid-tiny", "image_size": size, "stride_px": stride}
"""
REJECTED = {"size": 48, "stride": 2}


@pytest.fixture
def search(search_of: Callable[..., ResolvedSearch], small_space: Path) -> ResolvedSearch:
    small_space.write_text(SPACE)
    return search_of("--trials", 4)


def asked(study: optuna.Study, search: ResolvedSearch, number: int) -> Iterator[dict[str, Any]]:
    for _ in range(number):
        reseed_for(study, search)
        trial = study.ask()
        search.setup.recipe(trial)
        yield trial.params


def test_the_default_sampler_suggests_everything_else(search: ResolvedSearch) -> None:
    study = open_study(search, open_storage(search.stores.storage))
    suggested = {tuple(params.values()) for params in asked(study, search, 12)}
    assert suggested == {(32, 2), (32, 8), (48, 8)}


def test_the_default_sampler_learns_from_a_space_that_rejects(search: ResolvedSearch) -> None:
    study = optuna.create_study(direction="maximize")
    sizes = {"size": optuna.distributions.CategoricalDistribution((32, 48))}
    strides = {"stride": optuna.distributions.CategoricalDistribution((2, 8))}
    for number in range(12):
        params = [{"size": 32, "stride": 2}, {"size": 48, "stride": 8}][number % 2]
        study.add_trial(
            optuna.trial.create_trial(
                params=params, distributions=sizes | strides, value=number / 20, intermediate_values={4: number / 20}
            )
        )
    for seed in range(5):
        study.sampler = RungwiseSampler(search.setup.space.suggest, [4], seed=seed)
        assert search.setup.recipe(study.ask())


def test_another_samplers_rejected_suggestion_is_a_pruned_trial_with_the_reason(
    search: ResolvedSearch, journal: Journal
) -> None:
    study = open_study(search, open_storage(search.stores.storage))
    study.enqueue_trial(REJECTED)
    trials = Trials(study, search, journal, Display(study, search.goal))
    assert trials.start("a")
    rejected, started = study.trials
    assert (rejected.state, started.state) == (TrialState.PRUNED, TrialState.RUNNING)
    assert rejected.user_attrs["reason"] == "suggest() rejects these parameters (too slow)"
    told = [(event["kind"], event["trial"]) for event in journal.read()[0]]
    assert told == [("trial", 0), ("end", 0), ("trial", 1)]
    assert journal.read()[0][0]["params"] == REJECTED


def test_the_study_with_a_rejected_trial_opens_again_and_rebuilds_its_journal(
    search: ResolvedSearch, journal: Journal, tmp_path: Path
) -> None:
    study = open_study(search, open_storage(search.stores.storage))
    study.enqueue_trial(REJECTED)
    Trials(study, search, journal, Display(study, search.goal)).start("a")
    again = open_study(search, open_storage(search.stores.storage))
    with Journal(tmp_path / "rebuilt.jsonl") as rebuilt:
        rebuild(again, search.setup, search.method, rebuilt)
        events = rebuilt.read()[0]
    assert [(event["kind"], event["trial"]) for event in events[:2]] == [("trial", 0), ("end", 0)]


def test_the_samples_of_a_dry_run_leave_rejected_combinations_out(search: ResolvedSearch) -> None:
    suggestions = suggestions_of(search)
    drawn = [*suggestions.random, *suggestions.forced, suggestions.largest()]
    assert all(suggestion.params != REJECTED for suggestion in drawn)
    assert suggestions.num_choices == 4


def test_a_baseline_that_the_space_rejects_is_refused(small_space: Path) -> None:
    small_space.write_text(f"{SPACE}\nBASELINES = {{'mine': {REJECTED}}}\n")
    with pytest.raises(Error, match=r"baseline 'mine': suggest\(\) rejects these parameters \(too slow\)"):
        load_space(str(small_space), "tiny")


def test_a_recipe_is_found_behind_rejected_combinations(small_space: Path) -> None:
    small_space.write_text(SPACE.replace("(32, 48)", "(48, 32)") + "\nBASELINES = ['transreid-tiny']\n")
    assert load_space(str(small_space), "tiny").baselines["transreid-tiny"] == {"size": 32, "stride": 2}


def test_a_space_that_rejects_everything_is_refused(small_space: Path) -> None:
    small_space.write_text(SPACE.replace("size == 48 and stride == 2", "True"))
    with pytest.raises(
        Error, match=r"suggest\(\) rejects these parameters \(too slow\), as it did all of 3000 samples"
    ):
        load_space(str(small_space), "tiny")


def test_sampling_ends_if_nothing_is_accepted(search: ResolvedSearch) -> None:
    rng = np.random.default_rng(0)
    assert sample(search.setup.space.suggest, rng, REJECTED) is None
    point = sample(search.setup.space.suggest, rng, {"size": 48})
    assert point
    assert point.params == {"size": 48, "stride": 8}
