"""Folders and databases that cannot be used are refused by the name of what the user gave."""

import dataclasses
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from platform.addresses import checked_runs
from platform.lock import locked_file
from platform.preflight.storage_checks import try_stores
from platform.read_only_study import open_read_only
from platform.resolved_search import ResolvedSearch
from platform.start import opened_study
from platform.stores import default_storage, make_runs
from platform.study import open_storage
from platform.terminal.lines import Display
from platform.training_setup import TrainingSetup
from platform.trials import Trials
from shards_tools.errors import Error
from tests.platform.searches import changed


def test_runs_that_cannot_be_made_are_named_not_the_database_in_them(
    search_of: Callable[..., ResolvedSearch],
) -> None:
    search = search_of("--runs", "/proc/runs")
    with pytest.raises(Error, match=r"^--runs /proc/runs cannot be written: .*\. Give a folder"), opened_study(search):
        pass


def test_runs_that_another_user_owns_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(Error, match=rf"^--runs {re.escape(str(tmp_path))} cannot be written: Permission denied\."):
        make_runs(tmp_path)


def test_a_lock_that_another_user_owns_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr("platform.lock.refuse_link", refuse)
    with pytest.raises(Error, match=r"driver\.lock cannot be written: Permission denied\. .* --runs"):
        locked_file(tmp_path / "driver.lock", "s").__enter__()


@pytest.mark.parametrize("option", ["--storage", "--warm-start-storage"])
def test_a_broken_database_is_named_with_the_option_that_takes_another(tmp_path: Path, option: str) -> None:
    (tmp_path / "optuna.db").write_text("this is no database, and it is long enough to look like one" * 20)
    with pytest.raises(Error, match=rf"^Optuna's database .*optuna\.db cannot be used: .* Give {option} sqlite"):
        open_storage(default_storage(tmp_path), option)


def test_a_dry_run_names_what_the_user_gave(search: ResolvedSearch) -> None:
    search.stores.runs.mkdir()
    file = search.stores.runs / "optuna.db"
    file.write_text("no database, " * 99)
    with pytest.raises(
        Error, match=rf"^Optuna's database sqlite:///{file} cannot be written: .* Give --storage sqlite"
    ):
        try_stores(search)
    elsewhere = file.rename(file.parent.parent / "optuna.db")
    with pytest.raises(Error, match=rf"^--storage sqlite:///{elsewhere} cannot be written: "):
        try_stores(changed(search, storage=f"sqlite:///{elsewhere}"))


def test_a_dry_run_refuses_an_edited_constant_too(search: ResolvedSearch) -> None:
    with opened_study(search) as (study, _, journal):
        Trials(study, search, journal, Display(study, search.goal)).start("a")
    other = TrainingSetup.recipe

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingSetup, "recipe", lambda setup, trial: dataclasses.replace(other(setup, trial), lr=0.5))
        with pytest.raises(Error, match="trial 0 was trained with lr="):
            try_stores(search)


def test_a_broken_database_of_a_report_is_named(tmp_path: Path) -> None:
    (tmp_path / "optuna.db").write_text("this is no database, and it is long enough to look like one" * 20)
    with pytest.raises(Error, match=r"^Optuna's database .*optuna\.db cannot be read: "):
        open_read_only(default_storage(tmp_path))


@pytest.mark.parametrize("name", ["a?b", "a%20b"])
def test_runs_with_characters_of_database_addresses_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Error, match=r"--runs .*: its path has '[?%]', which database addresses reserve"):
        checked_runs(tmp_path / name)


@pytest.mark.parametrize("name", ["a b", "a#b", "a&b", "a;b", "a'b", 'a"b', "a@b", "a:b", "a+b", "ä", "[red]", "a\\b"])
def test_a_database_is_made_in_a_folder_of_any_other_name(tmp_path: Path, name: str) -> None:
    runs = checked_runs(tmp_path / name)
    make_runs(runs)
    open_storage(default_storage(runs))
    assert [file.name for file in runs.iterdir()] == ["optuna.db"]
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_link_in_place_of_the_lock_is_refused_and_its_target_stays(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "driver.lock").symlink_to(tmp_path / "precious")
    with (
        pytest.raises(Error, match=r"driver\.lock is a link to .*Remove the link"),
        locked_file(tmp_path / "driver.lock", "s"),
    ):
        pass
    assert (tmp_path / "precious").read_text() == "kept"
