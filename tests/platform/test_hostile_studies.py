"""A study that a stranger has written, or that is damaged, is refused or left out in one line; others stay usable."""

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest

from platform import report, studies
from platform.read_only_study import open_read_only, read_study
from platform.resolved_search import ResolvedSearch
from platform.study import open_storage, open_study
from platform.trial_record import TrialRecord
from platform.warm_start import earlier_settings
from shards_tools.errors import Error
from tests.platform.fuzzed import LONGEST_MESSAGE, limited
from tests.platform.searches import changed
from tests.platform.stored_by_hand import database, study_by_hand

NUM_TRIALS = 8
OF_BEST = "trial_id = (SELECT max(trial_id) FROM trials)"
LR, ERASE = (f"{OF_BEST} AND param_name = '{name}'" for name in ("lr", "erase_probability"))
DAMAGED, SKIPPED, SEEN = "refused", "skipped", "not a point of the space"
LONG = "x" * 1_000_000


def distribution(text: object, where: str = LR) -> tuple[str, list[object]]:
    """Replace the distribution of a parameter."""
    kept = text if isinstance(text, str | bytes) else json.dumps(text)
    return f"UPDATE trial_params SET distribution_json = ? WHERE {where}", [kept]


def choices(*values: object, where: str = ERASE) -> tuple[str, list[object]]:
    """Let a parameter be the first of these choices."""
    text = json.dumps({"name": "CategoricalDistribution", "attributes": {"choices": values}})
    return f"UPDATE trial_params SET param_value = 0, distribution_json = ? WHERE {where}", [text]


def attribute(key: str, value: str, table: str = "user") -> tuple[str, list[object]]:
    """Give the best trial an entry."""
    columns = "(trial_id, key, value_json)"
    return f"INSERT INTO trial_{table}_attributes {columns} SELECT max(trial_id), ?, ? FROM trials", [key, value]


def search_options(text: str) -> tuple[str, list[object]]:
    """Replace what the study says about its search."""
    return "UPDATE study_user_attributes SET value_json = ? WHERE key = 'search'", [text]


def value(text: str) -> tuple[str, list[object]]:
    """Replace the value of the best trial."""
    return f"UPDATE trial_values SET {text} WHERE {OF_BEST}", []


def parameter(new: object) -> tuple[str, list[object]]:
    """Replace the learning rate of the best trial."""
    return f"UPDATE trial_params SET param_value = ? WHERE {LR}", [new]


FLOAT = {"name": "FloatDistribution", "attributes": {"low": 5.0, "high": 1.0, "step": None, "log": True}}
CASES: dict[str, tuple[str, tuple[str, Sequence[object]]]] = {
    "a value of an unknown type": (DAMAGED, value("value = NULL, value_type = 'NAN'")),
    "an infinite value": (SKIPPED, value("value = NULL, value_type = 'INF_POS'")),
    "a text as value": (SKIPPED, value("value = 'abc'")),
    "a huge value": (SKIPPED, value("value = 1e308")),
    "no value": (SKIPPED, (f"DELETE FROM trial_values WHERE {OF_BEST}", [])),
    "two values": (
        SKIPPED,
        ("INSERT INTO trial_values SELECT 99, max(trial_id), 1, 0.5, 'FINITE' FROM trials", []),
    ),
    "NaN as parameter": (SKIPPED, parameter("nan")),
    "no parameter": (SKIPPED, parameter(None)),
    "an infinite parameter": (SKIPPED, parameter(9e999)),
    "a huge parameter": (SKIPPED, parameter(1e308)),
    "a text as parameter": (SKIPPED, parameter("abc")),
    "bytes as parameter": (SKIPPED, parameter(b"\x00\xff")),
    "a distribution that is no JSON": (DAMAGED, distribution("garbage")),
    "a distribution of bytes": (DAMAGED, distribution(b"\x00\xff")),
    "a list as distribution": (DAMAGED, distribution([])),
    "null as distribution": (DAMAGED, distribution(None)),
    "an unknown distribution": (DAMAGED, distribution({"name": "EvilDistribution", "attributes": {}})),
    "a deep distribution": (DAMAGED, distribution("[" * 5000)),
    "a range that is empty": (DAMAGED, distribution(FLOAT)),
    "a range without limits": (DAMAGED, distribution({"name": "FloatDistribution"})),
    "texts as limits": (
        DAMAGED,
        distribution({**FLOAT, "attributes": {"low": "a", "high": "b", "step": None, "log": False}}),
    ),
    "nested choices": (SEEN, choices([1], {"a": 2})),
    "a choice that does not exist": (DAMAGED, (f"UPDATE trial_params SET param_value = 99 WHERE {ERASE}", [])),
    "a long choice": (SEEN, choices(LONG)),
    "a terminal escape": (SEEN, choices("\x1b[2J\nx")),
    "a boolean learning rate": (SEEN, choices(True, None, where=LR)),
    "a missing parameter": (SEEN, (f"DELETE FROM trial_params WHERE {LR}", [])),
    "a long name": (SEEN, (f"UPDATE trial_params SET param_name = ? WHERE {LR}", [LONG])),
    "an unknown state": (DAMAGED, (f"UPDATE trials SET state = 'HAPPY' WHERE {OF_BEST}", [])),
    "a date that is none": (DAMAGED, (f"UPDATE trials SET datetime_complete = 'once' WHERE {OF_BEST}", [])),
    "no number": (DAMAGED, (f"UPDATE trials SET number = NULL WHERE {OF_BEST}", [])),
    "a number as search": (DAMAGED, search_options("5")),
    "half a search": (DAMAGED, search_options("{")),
    "a number as space": (DAMAGED, search_options('{"space": 7}')),
    "a long space": (DAMAGED, search_options(json.dumps({"space": LONG}))),
    "a deep search": (DAMAGED, search_options("[" * 100_000)),
    "a number as baseline": (SKIPPED, attribute("baseline", "5")),
    "an entry that is no JSON": (DAMAGED, attribute("baseline", "nope")),
    "a text as metrics": (SKIPPED, attribute("metrics", '"abc"')),
    "texts as metrics": (SKIPPED, attribute("metrics", '{"mAP": "0.9"}')),
    "a text as constraints": (SKIPPED, attribute("constraints", '"abc"', "system")),
    "a number as constraints": (SKIPPED, attribute("constraints", "7", "system")),
    "an unknown direction": (DAMAGED, ("UPDATE study_directions SET direction = 'SIDEWAYS'", [])),
    "another direction": (DAMAGED, ("UPDATE study_directions SET direction = 'MINIMIZE'", [])),
    "no direction": (DAMAGED, ("DELETE FROM study_directions", [])),
    "a text as value of an epoch": (
        SKIPPED,
        ("INSERT INTO trial_intermediate_values SELECT 99, max(trial_id), 1, 'abc', 'FINITE' FROM trials", []),
    ),
}


@pytest.fixture(scope="module")
def sound(quick_search: ResolvedSearch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a study of two baselines and eight trials of rising value."""
    file = tmp_path_factory.mktemp("sound") / "optuna.db"
    search = changed(quick_search, storage=f"sqlite:///{file}", study="earlier")
    study = open_study(search, open_storage(search.stores.storage))
    for _ in range(2):
        study.tell(study.ask(), 0.9)
    for number in range(NUM_TRIALS):
        study.sampler = optuna.samplers.RandomSampler(seed=number)
        trial = study.ask()
        search.setup.space.recipe(trial, None)
        study.tell(trial, number / 100)
    return file


@pytest.fixture
def runs(sound: Path, tmp_path: Path) -> Path:
    """A folder with a copy of that database."""
    shutil.copy(sound, tmp_path)
    return tmp_path


def damage(file: Path, statement: str, values: Sequence[object]) -> None:
    """Change a database; of what it holds, only one study is damaged."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute(statement, values)
        connection.commit()


def warm_start(search: ResolvedSearch, runs: Path) -> list[str]:
    """The trials whose settings are taken."""
    new = changed(search, storage=database(runs), study="new", warm_start="earlier")
    with limited(10, "a warm start"):
        return list(earlier_settings(new.method, new.setup, new.stores))


pytestmark = pytest.mark.filterwarnings("ignore:Choices for a categorical distribution")


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_study_is_refused_or_its_trial_is_skipped_in_one_line(
    case: str, quick_search: ResolvedSearch, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected, change = CASES[case]
    damage(runs / "optuna.db", *change)
    if expected == DAMAGED:
        with pytest.raises(Error) as refused:
            warm_start(quick_search, runs)
        said = str(refused.value).replace(str(runs), "")
        assert "\n" not in said
    else:
        taken = warm_start(quick_search, runs)
        # A quarter of the eight trials: the two best, or without the damaged one those below it.
        assert taken == (["earlier/8"] if expected == SEEN else ["earlier/8", "earlier/7"])
        said, _, last = capsys.readouterr().err.rpartition("Warm start: ")
        assert len(said.splitlines()) == len(last.splitlines()) == 1
        assert ("earlier/9 is skipped" if expected == SEEN else "Damaged trials of study earlier are skipped") in said
    assert "\x1b" not in said
    assert len(said) < LONGEST_MESSAGE


@pytest.mark.parametrize("case", CASES)
def test_one_damaged_study_is_named_and_the_others_are_listed(
    case: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(runs / "optuna.db", *CASES[case][1])
    study_by_hand("sound", database(runs))
    for command in (report.main, studies.main):
        with limited(10, "a list"):
            command(["--list" if command is report.main else "list", "--runs", str(runs)])
        out, err = capsys.readouterr()
        listed = [line.split()[0] for line in out.splitlines()]
        assert listed[-1] == "sound"
        assert len(listed) + len(err.splitlines()) == 2
        assert "earlier" in listed or err.startswith("Left out: Study 'earlier' is damaged (")
        assert len(err) < LONGEST_MESSAGE
    assert read_study(open_read_only(database(runs)), database(runs), "sound").trials
    if "earlier" not in listed:
        with pytest.raises(Error, match="'earlier' is"):
            studies.main(["show", "earlier", "--runs", str(runs)])


def test_another_study_can_be_deleted_next_to_a_damaged_one(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage(runs / "optuna.db", *CASES["an unknown direction"][1])
    study_by_hand("sound", database(runs))
    studies.main(["delete", "sound", "--runs", str(runs)])
    assert "Deleted study sound" in capsys.readouterr().err
    with pytest.raises(Error, match=r"optuna\.db cannot be used: 'SIDEWAYS' .* restore it from a copy\.$"):
        studies.main(["delete", "earlier", "--runs", str(runs)])


def test_what_a_search_stores_is_sound(runs: Path) -> None:
    stored: Any = read_study(open_read_only(database(runs)), database(runs), "earlier")
    assert len(stored.trials) == NUM_TRIALS + 2
    assert TrialRecord(stored.trials[0]).baseline == "paper row"
