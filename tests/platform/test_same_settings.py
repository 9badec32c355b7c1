"""A study whose space gives other settings than its trials were trained with is refused."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from platform import study
from platform.resolved_search import ResolvedSearch
from platform.study import open_storage, open_study
from platform.terminal.lines import Display
from platform.tracking.journal import Journal
from platform.trial_record import TrialRecord
from platform.trials import Trials
from shards_tools.errors import Error
from tests.platform.searches import changed

SearchOf = Callable[..., ResolvedSearch]


def opened(search: ResolvedSearch) -> optuna.Study:
    return open_study(search, open_storage(search.stores.storage))


@pytest.fixture
def started(search: ResolvedSearch, journal: Journal) -> optuna.Study:
    """A study whose first trial, the baseline `paper row`, has started."""
    study = opened(search)
    assert Trials(study, search, journal, Display(study, search.goal)).start("a")
    return study


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"image_size": 32', '"image_size": 48', "trial 0 was trained with image_size=32, now its parameters give ima"),
        ('"transreid-tiny"', '"transreid-vit-base-tiny"', "trial 0 was trained with recipe='transreid-tiny'"),
        (
            '"epochs": 4',
            '"epochs": 4, "pixel_mean": (0.4, 0.5, 0.5)',
            "now its parameters give pixel_mean=[0.4, 0.5, 0.5]",
        ),
        ('"lr": 1e-4}', '"lr": 2e-4}', "baseline 'paper row' had lr=0.0001, now it has lr=0.0002"),
        ('"lr": 1e-3}', '"lr": 2e-3}', "baseline 'hand-set' had lr=0.001, now it has lr=0.002"),
    ],
)
@pytest.mark.usefixtures("started")
def test_an_edited_constant_is_refused_with_both_values(
    search: ResolvedSearch, search_of: SearchOf, small_space: Path, old: str, new: str, message: str
) -> None:
    text = small_space.read_text()
    assert old in text
    small_space.write_text(text.replace(old, new))
    with pytest.raises(Error, match=re.escape(message)) as refused:
        opened(search_of())
    assert len(str(refused.value)) < 400


@pytest.mark.usefixtures("started")
def test_a_space_that_asks_a_trained_trial_for_another_parameter_is_refused(search: ResolvedSearch) -> None:
    space = search.setup.space

    def suggest(trial: Any) -> Any:
        return {**space.suggest(trial), "warmup_epochs": trial.suggest_int("warmup", 0, 1)}

    with pytest.raises(Error, match=r"its parameters, now suggest\(\) fails for them \(ValueError: .*'warmup'"):
        opened(changed(search, space=dataclasses.replace(space, suggest=suggest)))


@pytest.mark.usefixtures("started")
def test_an_equal_space_written_differently_is_opened(
    search: ResolvedSearch, search_of: SearchOf, small_space: Path
) -> None:
    small_space.write_text(
        small_space.read_text().replace('"epochs": 4', '"epochs": 2 * 2').replace("1e-4,", "0.0001,")
    )
    assert len(opened(search_of()).trials) == len(search.setup.space.baselines)


def test_a_space_that_let_its_trials_fail_may_be_corrected(
    started: optuna.Study, search_of: SearchOf, small_space: Path
) -> None:
    started.tell(0, state=optuna.trial.TrialState.FAIL)
    small_space.write_text(small_space.read_text().replace('"image_size": 32', '"image_size": 48'))
    assert opened(search_of()).trials[0].state == optuna.trial.TrialState.FAIL


def test_a_study_of_an_earlier_version_is_opened(started: optuna.Study, search_of: SearchOf, small_space: Path) -> None:
    started.tell(0, state=optuna.trial.TrialState.PRUNED)
    trial = started.trials[0]
    trial.user_attrs["settings"] = {"recipe": "transreid-tiny", "checkpointing": False, "removed": 1}
    started.add_trial(trial)
    assert len(opened(search_of()).trials) == len(started.trials)


def test_of_many_finished_trials_some_are_compared_and_all_others_that_continue(
    started: optuna.Study, search: ResolvedSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = started.get_trials(states=(TrialState.RUNNING,))
    template: dict[str, Any] = {
        "params": first.params,
        "distributions": first.distributions,
        "user_attrs": TrialRecord.attributes(settings=TrialRecord(first).settings),
        "intermediate_values": {1: 0.5},
    }
    for number in range(10):
        state = TrialState.RUNNING if number == 5 else TrialState.PRUNED
        started.add_trial(optuna.trial.create_trial(state=state, **template))
    monkeypatch.setattr(study, "MAX_COMPARED", 3)
    compared: list[Any] = []

    def suggest(trial: Any) -> Any:
        compared.append(trial)
        return search.setup.space.suggest(trial)

    opened(changed(search, space=dataclasses.replace(search.setup.space, suggest=suggest)))
    states = [trial.state for trial in compared]
    assert states.count(TrialState.RUNNING) == 2
    assert states.count(TrialState.PRUNED) == 3
