"""Paths under --runs are stored relative to it: a folder that was moved or copied works at its new place."""

import shutil
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from platform.read_only_study import folder_of_study
from platform.resolved_search import ResolvedSearch
from platform.run_paths import located, stored_path, use_runs
from platform.start import opened_study
from platform.terminal.lines import Display
from platform.trial_record import TrialRecord
from platform.trials import Trials
from tests.platform.test_trials import epoch


def test_a_trial_resumes_from_its_checkpoint_in_a_moved_folder(
    search_of: Callable[..., ResolvedSearch], tmp_path: Path
) -> None:
    search = search_of()
    with opened_study(search) as (study, _, journal):
        trials = Trials(study, search, journal, Display(study, search.goal))
        trials.start("a")
        trials.report("a", epoch(1))
        place = search.stores.folder / "start-001" / "trial-0000-1" / "checkpoint_000000"
        place.mkdir(parents=True)
        trials.checkpoint("a", str(place))
        assert TrialRecord(study.trials[0]).checkpoint == str(place)
    shutil.move(tmp_path / "runs", tmp_path / "moved")
    moved = search_of("--runs", tmp_path / "moved")
    with opened_study(moved) as (study, _, journal):
        config = Trials(study, moved, journal, Display(study, moved.goal)).start("a")
    assert config
    assert config["resume"] == [str(moved.stores.folder / "start-001" / "trial-0000-1" / "checkpoint_000000")]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("place", ["s3://bucket/a/b", "gs://bucket/a", "/elsewhere/a"])
def test_what_is_not_under_runs_is_stored_whole(tmp_path: Path, place: str) -> None:
    use_runs(tmp_path)
    assert located(stored_path(place)) == stored_path(place) == place


def test_what_is_under_runs_is_stored_relative_and_found_in_the_folder_in_use(tmp_path: Path) -> None:
    use_runs(tmp_path / "first")
    assert stored_path(str(tmp_path / "first" / "study" / "c")) == "study/c"
    use_runs(tmp_path / "second")
    assert located("study/c") == str(tmp_path / "second" / "study" / "c")
    assert located("") == ""


def test_a_record_of_an_earlier_version_keeps_its_absolute_path(tmp_path: Path) -> None:
    use_runs(tmp_path)
    trial = optuna.create_study().ask()
    trial.set_user_attr("checkpoint", "/old/runs/s/checkpoint")
    assert TrialRecord(trial).checkpoint == "/old/runs/s/checkpoint"


def test_the_folder_of_a_study_is_found_beside_its_database(tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "s").mkdir(parents=True)
    url = f"sqlite:///{tmp_path / 'elsewhere' / 'optuna.db'}"
    assert folder_of_study(tmp_path / "runs", url, "s") == tmp_path / "elsewhere"
    (tmp_path / "runs" / "s").mkdir(parents=True)
    assert folder_of_study(tmp_path / "runs", url, "s") == tmp_path / "runs"
    assert folder_of_study(tmp_path / "none", "postgresql+psycopg://host/name", "s") == tmp_path / "none"
