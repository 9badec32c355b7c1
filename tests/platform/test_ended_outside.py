"""A trial that another program ends in the study, while it trains or waits to be resumed, stops; the search goes on."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from platform.resolved_search import ResolvedSearch
from platform.start import opened_study
from platform.study import open_storage
from platform.terminal.lines import Display
from platform.tracking.journal import Journal
from platform.trials import Trials
from platform.tune_adapters import call_or_stop
from shards_tools.errors import Error
from tests.platform.test_trials import epoch, run_to_the_end


@pytest.fixture
def trials(study: optuna.Study, search: ResolvedSearch, journal: Journal) -> Trials:
    return Trials(study, search, journal, Display(study, search.goal))


def end_outside(search: ResolvedSearch, number: int, state: TrialState, value: float | None = None) -> None:
    other = optuna.load_study(study_name=search.stores.study, storage=open_storage(search.stores.storage))
    other.tell(number, value, state=state)


def ends(journal: Journal) -> list[tuple[int, str, str]]:
    return [(one["trial"], one["state"], one["reason"]) for one in journal.read()[0] if one["kind"] == "end"]


@pytest.mark.parametrize("state", [TrialState.FAIL, TrialState.PRUNED, TrialState.COMPLETE])
def test_the_attempt_stops_and_the_next_trial_starts(
    trials: Trials, study: optuna.Study, search: ResolvedSearch, journal: Journal, state: TrialState
) -> None:
    trials.start("a")
    assert trials.report("a", epoch(1))
    end_outside(search, 0, state, 0.5 if state == TrialState.COMPLETE else None)
    assert not trials.report("a", epoch(2))
    trials.checkpoint("a", "/a/late/checkpoint")
    trials.finish("a", died=False)
    assert ends(journal) == [(0, state.name, "ended in the study by another program")]
    assert (study.trials[0].state, list(study.trials[0].intermediate_values)) == (state, [1])
    assert trials.start("b")
    run_to_the_end(trials, "b")
    assert study.trials[1].state.is_finished()


def test_an_end_between_a_look_and_a_write_stops_the_attempt_too(
    trials: Trials, study: optuna.Study, search: ResolvedSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials.start("a")
    known = study.trials[0]
    end_outside(search, 0, TrialState.FAIL)
    with monkeypatch.context() as patch:
        patch.setattr(trials, "_frozen", lambda trial: known)
        assert call_or_stop(trials, lambda: trials.report("a", epoch(1)), False) is False
        call_or_stop(trials, lambda: trials.checkpoint("a", "/a/late/checkpoint"), None)
    call_or_stop(trials, lambda: trials.finish("a", died=False), None)
    assert trials.failure is None
    assert trials.start("b")


def test_a_study_that_is_deleted_ends_the_search_in_one_line(
    trials: Trials, study: optuna.Study, search: ResolvedSearch
) -> None:
    trials.start("a")
    optuna.delete_study(study_name=study.study_name, storage=search.stores.storage)
    assert call_or_stop(trials, lambda: trials.report("a", epoch(1)), False) is False
    with pytest.raises(Error, match=r"^Study .* was deleted from Optuna's database while this search ran\."):
        raise trials.failure or AssertionError


def test_an_entry_that_is_missing_for_another_reason_is_a_bug(trials: Trials) -> None:
    with pytest.raises(KeyError):
        call_or_stop(trials, lambda: {}["no"], None)


def test_a_trial_that_waits_to_be_resumed_is_not_resumed(
    trials: Trials, study: optuna.Study, search: ResolvedSearch, journal: Journal
) -> None:
    trials.start("a")
    trials.report("a", epoch(1))
    trials.finish("a", died=True)
    end_outside(search, 0, TrialState.FAIL)
    config = trials.start("b")
    assert config
    assert config["trial"] == 1
    assert ends(journal)[0][:2] == (0, "FAIL")


def test_the_checkpoints_of_a_stopped_trial_are_deleted(
    trials: Trials, search: ResolvedSearch, study: optuna.Study
) -> None:
    place = Path(search.stores.folder) / "start-001" / "trial-0000-1" / "checkpoint_000000"
    place.mkdir(parents=True)
    trials.start("a")
    trials.checkpoint("a", str(place))
    end_outside(search, 0, TrialState.PRUNED)
    trials.finish("a", died=False)
    assert not place.exists()


@pytest.mark.parametrize(("state", "kept"), [(TrialState.FAIL, {"trial-0000-2"}), (TrialState.PRUNED, set())])
def test_the_next_start_deletes_the_checkpoints_of_a_trial_that_ended_while_no_search_ran(
    search: ResolvedSearch, state: TrialState, kept: set[str]
) -> None:
    with opened_study(search) as (study, _, journal):
        trials = Trials(study, search, journal, Display(study, search.goal))
        for attempt in (1, 2):
            place = Path(search.stores.folder) / "start-001" / f"trial-0000-{attempt}" / "checkpoint_000000"
            place.mkdir(parents=True)
            trials.start(f"attempt {attempt}")
            trials.checkpoint(f"attempt {attempt}", str(place))
            trials.finish(f"attempt {attempt}", died=True)
    end_outside(search, 0, state)
    with opened_study(search):
        pass
    assert {place.parent.name for place in Path(search.stores.folder).glob("start-*/*/checkpoint_*")} == kept
