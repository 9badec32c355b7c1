"""Typed views of what a study stores, compared with the entries in Optuna's own database."""

import ast
import json
import sqlite3
import tarfile
from pathlib import Path

import optuna
import pytest

from platform.trial_record import Stored, StudyRecord, TrialRecord

PLATFORM = Path(__file__).parents[2] / "platform"
RUNS_AT_0_1_0 = Path(__file__).parents[1] / "fixtures" / "at_0_1_0" / "runs.tar.xz"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "study.db"


@pytest.fixture
def study(database: Path) -> optuna.Study:
    return optuna.create_study(storage=f"sqlite:///{database}", direction="maximize")


def stored_rows(database: Path, table: str) -> dict[str, object]:
    rows = sqlite3.connect(database).execute(f"SELECT key, value_json FROM {table}").fetchall()
    return {key: json.loads(value) for key, value in rows}


def test_an_assigned_field_is_in_the_database_and_read_back(study: optuna.Study, database: Path) -> None:
    trial = study.ask()
    TrialRecord(trial).checkpoint = "runs/one/checkpoint_000003"
    TrialRecord(trial).metrics = {"mAP": 0.25, "total_seconds": 8.5}
    assert stored_rows(database, "trial_user_attributes") == {
        "checkpoint": "runs/one/checkpoint_000003",
        "metrics": {"mAP": 0.25, "total_seconds": 8.5},
    }
    record = TrialRecord(study.get_trials()[0])
    assert (record.checkpoint, record.metrics["mAP"], record.total_seconds) == ("runs/one/checkpoint_000003", 0.25, 8.5)


def test_a_field_that_was_never_stored_has_its_default(study: optuna.Study) -> None:
    record = TrialRecord(study.ask())
    assert (record.baseline, record.attempts, record.pruned_at, record.left_out) == ("", 0, None, False)
    assert record.total_seconds == 0.0
    assert not StudyRecord(study).is_search


def test_a_trial_is_enqueued_with_the_stored_keys_of_its_fields(study: optuna.Study) -> None:
    study.enqueue_trial({}, user_attrs=TrialRecord.attributes(trained=7, candidate=4, label="fold 2"))
    assert study.get_trials()[0].user_attrs == {"of": 7, "trial": 4, "label": "fold 2"}


def test_a_field_that_does_not_exist_cannot_be_stored() -> None:
    with pytest.raises(AttributeError, match="basline"):
        TrialRecord.attributes(basline="paper row")


@pytest.mark.parametrize(
    ("fields", "is_paper_row"),
    [
        ({"baseline": "paper ViT-Base"}, True),
        ({"baseline": "mine", "paper_row": ("LSASRD Table 5", "ViT-Base")}, True),
        ({"baseline": "hand-set"}, False),
        ({}, False),
    ],
)
def test_rows_of_papers_are_told_by_their_recipe_or_their_label(
    study: optuna.Study, fields: dict[str, object], is_paper_row: bool
) -> None:
    study.enqueue_trial({}, user_attrs=TrialRecord.attributes(**fields))
    assert TrialRecord(study.get_trials()[0]).is_paper_row is is_paper_row


def test_test_metrics_are_kept_by_the_number_of_the_trial(study: optuna.Study, database: Path) -> None:
    StudyRecord(study).store_test_metrics(3, {"mAP": 0.5})
    StudyRecord(study).store_test_metrics(12, {"mAP": 0.75})
    assert stored_rows(database, "study_user_attributes") == {"test 3": {"mAP": 0.5}, "test 12": {"mAP": 0.75}}
    assert StudyRecord(study).test_metrics == {3: {"mAP": 0.5}, 12: {"mAP": 0.75}}


def test_every_key_that_an_earlier_version_stored_is_a_field(tmp_path: Path) -> None:
    """The study of version 0.1.0 in the fixtures: a key without a field would be lost to this version."""
    with tarfile.open(RUNS_AT_0_1_0) as runs:
        runs.extractall(tmp_path, filter="data")
    database = next(tmp_path.rglob("optuna.db"))
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        for table, record in (("trial_user_attributes", TrialRecord), ("study_user_attributes", StudyRecord)):
            keys = {key for (key,) in connection.execute(f"SELECT DISTINCT key FROM {table}")}
            assert keys
            assert keys <= {field.key for field in vars(record).values() if isinstance(field, Stored)}


def test_no_other_module_spells_a_key() -> None:
    """Reading an entry by a literal key, or storing one, is left to the records."""
    found = []
    for path in sorted(PLATFORM.rglob("*.py")):
        if path.name == "trial_record.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in ("user_attrs", "set_user_attr"):
                found.append(f"{path.relative_to(PLATFORM)}:{node.lineno}")
    assert found == []
