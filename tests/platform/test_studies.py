"""`platform.studies` lists and shows studies, stops one trial, and deletes a study, whose name is then free."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState

from platform import studies
from platform.resolved_search import ResolvedSearch
from platform.start import opened_study, tracked
from platform.terminal.lines import Display
from platform.tracking.events import rebuild
from platform.trial_record import TrialRecord
from platform.trials import Trials
from shards_tools.errors import Error
from tests.platform.stored_by_hand import content_of, database, study_by_hand
from tests.platform.test_trials import epoch


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[Any, str]:
    """What a command prints as JSON, and for people."""
    studies.main([*map(str, words), "--json"])
    out, err = capsys.readouterr()
    return json.loads(out.splitlines()[-1]), err


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        study_by_hand(name, database(tmp_path))
    return tmp_path


def test_studies_are_listed_and_one_is_shown_and_nothing_is_changed(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content_of(runs)
    found, _ = run(capsys, "--runs", runs)
    assert [(study["study"], study["best"], study["trials"]["complete"]) for study in found["studies"]] == [
        ("one", 0.40, 5),
        ("two", 0.40, 5),
    ]
    shown, _ = run(capsys, "show", "one", "--runs", runs)
    assert [trial["state"] for trial in shown["trials"]][:3] == ["COMPLETE", "COMPLETE", "PRUNED"]
    assert shown["trials"][2] == {
        "trial": 2,
        "state": "PRUNED",
        "epochs": 2,
        "value": 0.16,
        "params": {"optimizer": "sgd", "sgd_lr": 0.09, "drop_path": 0.3},
        "reason": "pruned at epoch 2",
    }
    assert content_of(runs) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("show", "onee"), "'onee' is not a known study. Did you mean 'one'"),
        (("stop", "onee", "--trial", "0"), "'onee' is not a known study. Did you mean 'one'"),
        (("delete", "onee"), "'onee' is not a known study. Did you mean 'one'"),
        (("stop", "one", "--trial", "0"), "--trial 0 has ended already: it is complete"),
        (("stop", "one", "--trial", "99"), "--trial 99: study one has 9 trials"),
        (("stop", "one", "--trial", "-1"), "--trial -1: study one has 9 trials"),
        (("delete", "../one"), "is not a valid name"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(runs: Path, words: tuple[str, ...], message: str) -> None:
    before = content_of(runs)
    with pytest.raises(Error, match=message):
        studies.main([*words, "--runs", str(runs)])
    assert content_of(runs) == before
    assert not (runs / "onee").exists()


@pytest.mark.parametrize(
    "words", [("list", "one"), ("show",), ("stop", "one"), ("delete",), ("show", "one", "--trial", "1")]
)
def test_words_that_do_not_fit_the_action_are_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(Error, match=r"See: python -m platform\.studies --help"):
        studies.main(words)


def test_a_folder_without_studies_is_not_created(tmp_path: Path) -> None:
    for words in (("stop", "one", "--trial", "0"), ("delete", "one")):
        with pytest.raises(Error, match="does not exist"):
            studies.main([*words, "--runs", str(tmp_path / "none")])
    assert not (tmp_path / "none").exists()


def test_a_trial_that_a_search_runs_is_stopped_by_the_search(
    search: ResolvedSearch, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened_study(search) as (study, _, journal):
        trials = Trials(study, search, journal, Display(study, search.goal))
        trials.start("a")
        trials.report("a", epoch(1))
        _, said = run(capsys, "stop", study.study_name, "--trial", 0, "--runs", search.stores.runs)
        assert "stops after its epoch" in said
        assert not trials.report("a", epoch(2))
        trials.finish("a", died=False)
        (end,) = (event for event in journal.read()[0] if event["kind"] == "end")
        assert (end["state"], end["reason"]) == ("PRUNED", "stopped with platform.studies")


def test_a_trial_is_not_stopped_behind_a_lock_that_cannot_be_had(
    search: ResolvedSearch, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened_study(search) as (study, _, journal):
        Trials(study, search, journal, Display(study, search.goal)).start("a")
    lock = search.stores.folder / "driver.lock"
    lock.unlink()
    lock.symlink_to(search.stores.folder / "elsewhere")
    with pytest.raises(Error, match=r"driver\.lock is a link"):
        run(capsys, "stop", study.study_name, "--trial", 0, "--runs", search.stores.runs)
    assert study.trials[0].state == TrialState.RUNNING


def test_a_trial_that_was_left_running_is_stopped_for_good(
    search: ResolvedSearch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = search.stores.folder / "start-001" / "trial-0000-1" / "checkpoint_000000"
    place.mkdir(parents=True)
    with opened_study(search) as (study, _, journal):
        trials = Trials(study, search, journal, Display(study, search.goal))
        trials.start("a")
        trials.checkpoint("a", str(place))
    _, said = run(capsys, "stop", study.study_name, "--trial", 0, "--runs", search.stores.runs)
    assert "will not resume it" in said
    assert not place.exists()
    with opened_study(search) as (study, _, journal):
        assert study.trials[0].state == TrialState.PRUNED
        rebuild(study, search.setup, search.method, journal)
        rebuild(study, search.setup, search.method, journal)
        (end,) = (event for event in journal.read()[0] if event["kind"] == "end")
        assert end["reason"] == TrialRecord(study.trials[0]).reason == "stopped with platform.studies"


@pytest.fixture
def tracked_study(search: ResolvedSearch) -> ResolvedSearch:
    """A study with a folder and an experiment, which no search runs."""
    with opened_study(search) as (study, storage, journal), tracked(search, journal):
        optuna.create_study(study_name=f"{study.study_name}-folds", storage=storage)
        journal.append("trial", trial=0, name="row", params={"lr": 0.1}, tags={}, time=1.0)
    return search


@pytest.mark.integration
def test_a_deleted_study_can_begin_again_under_its_name(
    tracked_study: ResolvedSearch, capsys: pytest.CaptureFixture[str]
) -> None:
    search, stores = tracked_study, tracked_study.stores
    other = study_by_hand("other", stores.storage)
    run(capsys, "delete", stores.study, "--runs", stores.runs)
    assert optuna.get_all_study_names(stores.storage) == ["other"]
    assert len(other.trials) == 9
    assert not stores.folder.exists()
    client = MlflowClient(stores.tracking)
    assert client.get_experiment_by_name(stores.study) is None
    with opened_study(search) as (study, _, journal), tracked(search, journal) as tracker:
        assert [trial.state for trial in study.trials] == [TrialState.WAITING] * 2
        journal.append("trial", trial=0, name="row", params={"lr": 0.2}, tags={}, time=2.0)
    assert tracker.status == "ok"
    run_id = tracker.run_id(0)
    assert run_id
    assert client.get_run(run_id).data.params == {"lr": "0.2"}


@pytest.mark.integration
def test_a_deletion_that_was_interrupted_is_finished_by_the_next(
    tracked_study: ResolvedSearch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stores = tracked_study.stores
    for place in ("optuna.delete_study", "shutil.rmtree"):
        with monkeypatch.context() as patch:
            patch.setattr(place, interrupt)
            with pytest.raises(RuntimeError):
                studies.main(["delete", stores.study, "--runs", str(stores.runs)])
    run(capsys, "delete", stores.study, "--runs", stores.runs)
    assert (optuna.get_all_study_names(stores.storage), stores.folder.exists()) == ([], False)


def interrupt(*_: object, **__: object) -> None:
    raise RuntimeError


def test_a_study_that_a_search_runs_is_not_deleted(search: ResolvedSearch) -> None:
    with opened_study(search) as (study, _, _), pytest.raises(Error, match="is being run by process"):
        studies.main(["delete", study.study_name, "--runs", str(search.stores.runs)])
    assert search.stores.folder.is_dir()


def test_what_is_left_of_a_study_whose_database_was_lost_is_deleted(
    search_of: Callable[..., ResolvedSearch], capsys: pytest.CaptureFixture[str]
) -> None:
    search = search_of()
    with opened_study(search) as (_, _, journal):
        journal.append("trial", trial=0, name="row", params={}, tags={}, time=1.0)
    (search.stores.runs / "optuna.db").unlink()
    run(capsys, "delete", search.stores.study, "--runs", search.stores.runs)
    with opened_study(search) as (study, _, _):
        assert len(study.trials) == 2
