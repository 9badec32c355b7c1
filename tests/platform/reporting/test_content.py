"""What a report says: the papers' numbers, comparisons from the study alone, commands, and what a start leaves."""

import json
import math
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import create_trial

from platform.config import SearchConfig
from platform.environment import call_of, start_of_search, typed_command
from platform.read_only_study import StoredStudy
from platform.reporting.papers import papers_section, printed_row
from platform.reporting.settings import commands, in_lines, settings_section
from platform.reporting.stages import finalists_of, folds_of
from platform.reporting.subject import Subject, subject_of
from platform.resolved_search import ResolvedSearch
from platform.spaces.loading import load_space
from platform.spaces.registry import space_names
from platform.study import open_storage, open_study
from platform.trial_record import StudyRecord, TrialRecord
from shards_tools.errors import Error
from tests.platform.searches import changed
from tests.platform.stored_by_hand import study_by_hand
from trainables.recipes import RECIPES, get_recipe
from trainables.recipes.settings import override, parse_settings
from trainables.training.checkpoint_info import CheckpointInfo, as_json


def test_folds_and_finalists_are_compared_from_the_study_alone() -> None:
    study = study_by_hand()
    study.set_user_attr("folds", 3)
    folds = {3: (0.40, 0.30, 0.20), 0: (0.25, 0.20, 0.15)}
    candidates = [
        create_trial(
            value=float(np.mean(values)), intermediate_values=dict(enumerate(values)), user_attrs={"trial": of}
        )
        for of, values in folds.items()
    ]
    seeds = {3: (0.35, 0.37), 0: (0.30, 0.36)}
    trainings, final = [], StudyRecord(optuna.create_study(direction="maximize"))
    for of, values in seeds.items():
        for seed, value in enumerate(values, start=1):
            final.store_test_metrics(len(trainings), {"mAP": value})
            trainings.append(create_trial(value=0.1, user_attrs={"of": of, "training": {"fold": 0, "seed": seed}}))
            trainings[-1].number = len(trainings) - 1
    final.elected = {"asked": {"finalists": 1, "final_seeds": 2}, "trials": [3, 0], "reference": 0}
    stored = StoredStudy(study=study, candidates=candidates, final_trainings=trainings, final=final)
    subject = subject_of(stored, None)
    best, row = folds_of(subject)
    assert (best.trial, best.mean, best.std) == (3, pytest.approx(0.3), pytest.approx(0.1))
    assert (row.trial, best.reference) == (0, row.name)
    assert (best.test.difference, best.test.num_pairs, best.test.p) == (pytest.approx(0.075), 2, 0.5)
    best, row = finalists_of(subject)
    assert (best.trial, best.mean, best.test.difference) == (3, pytest.approx(0.36), pytest.approx(0.03))
    assert math.isnan(best.chance)


def test_the_command_trains_the_best_settings_again(tmp_path: Path) -> None:
    recipe = override(get_recipe("agw-resnet50-tiny"), {"lr": 1 / 3, "milestones": (3, 5), "flip_probability": 0.0})
    info = CheckpointInfo(
        recipe=recipe, fingerprint="", fold=2, seed=5, epoch=4, metrics={}, works=("a", "b"), vocabulary=(),
        num_threads=1, reading="decoded", versions={},
    )  # fmt: skip
    (tmp_path / "checkpoint.json").write_text(as_json(info))
    study = optuna.create_study(direction="maximize")
    study.set_user_attr("search", {"objective": "mAP"})
    study.add_trial(create_trial(value=0.5, user_attrs={"checkpoint": str(tmp_path), "metrics": {"mAP": 0.5}}))
    subject = Subject(stored=StoredStudy(study=study), data="some shards", manifest=None)
    words = shlex.split(commands(subject)[0][1].replace("\\\n", " "))
    at = words.index("--set")
    assert override(get_recipe(words[words.index("--recipe") + 1]), parse_settings(words[at + 1 :], recipe)) == recipe
    assert words[:at] == [
        "python", "-m", "trainables.train", "--recipe", "agw-resnet50-tiny", "--data", "some shards",
        "--out", "out/agw-resnet50-tiny", "--fold", "2", "--seed", "5",
    ]  # fmt: skip


def test_the_training_on_train_and_val_is_named_with_the_command_that_evaluates_it(search: ResolvedSearch) -> None:
    study, setup = study_by_hand(data=search.setup.manifest.fingerprint), search.setup
    of = {number: {"of": number, "checkpoint": f"/weights/{number}"} for number in (0, 3)}
    trainings = [create_trial(value=1.0, user_attrs=attributes) for attributes in of.values()]
    for ones, places in ((trainings, ["/weights/3"]), (trainings[:1], [])):
        subject = subject_of(StoredStudy(study=study, trained_on_val=ones), setup.data)
        evaluated = [" ".join(shlex.split(command.replace("\\\n", " "))) for name, command in commands(subject)]
        assert evaluated == [f"python -m platform.evaluate {at} --data {setup.data} --split test" for at in places]
        told = settings_section(subject).paragraphs
        assert [text.rpartition(": ")[2] for text in told] == places


def test_a_command_in_lines_is_the_same_command() -> None:
    words = ["python", "-m", "x", "--space", "a b", "--storage=$HOME", "--set", "a=1", "'--no'"]
    assert shlex.split(in_lines(words).replace("\\\n", " ")) == words


@pytest.mark.slow
@pytest.mark.parametrize("space", space_names())
def test_every_row_of_a_paper_has_its_printed_numbers(space: str) -> None:
    tables = {recipe.table for recipe in RECIPES.values()}
    for scale in ("paper", "tiny"):
        loaded = load_space(space, scale)
        for row in loaded.baselines:
            table, numbers = printed_row(space, baseline(baseline=row))
            assert bool(numbers) == row.startswith("paper") == (row in loaded.paper_rows)
            assert table in tables | {""}
            if numbers:
                assert printed_row(space, baseline(baseline=row, paper_row=loaded.paper_rows[row])) == (table, numbers)
            assert all(0 < value < 1 for value in numbers.values())


def test_printed_numbers_are_the_papers() -> None:
    for space, of in (
        ("transreid", baseline(baseline="paper ViT-Stride")),
        ("mine", baseline(baseline="start", paper_row=["LSASRD Table 5", "ViT-Stride"])),
    ):
        table, numbers = printed_row(space, of)
        assert table == "LSASRD Table 5"
        assert numbers == pytest.approx({"mINP": 0.1314, "mAP": 0.4224, "cmc_1": 0.7472, "cmc_5": 0.8934})


def baseline(**fields: object) -> TrialRecord:
    """The record of a trial with these fields."""
    return TrialRecord(create_trial(value=0.5, user_attrs=TrialRecord.attributes(**fields)))


def test_a_recipe_with_printed_numbers_is_a_papers_row_of_a_users_space(
    search_of: Callable[..., ResolvedSearch], small_space: Path
) -> None:
    small_space.write_text(
        """
def suggest(trial):
    return {"recipe": "agw-resnet50-tiny", "lr": trial.suggest_float("lr", 1e-3, 1e-1, log=True)}


BASELINES = {"my start": "agw-resnet50-tiny", "by hand": {"lr": 0.05}}
"""
    )
    search = search_of()
    study = open_study(search, open_storage(search.stores.storage))
    for value in (0.25, 0.5):
        trial = study.ask()
        trial.suggest_float("lr", 1e-3, 1e-1, log=True)
        trial.set_user_attr("metrics", {"mAP": value})
        study.tell(trial, value)
    section = papers_section(subject_of(StoredStudy(study=study), search.setup.data))
    assert section is not None
    (table,) = section.tables
    shown = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [row["row"] for row in shown] == ["my start", "best found", "chance"]
    assert (shown[0]["mAP % here"], shown[0]["mAP % in paper"]) == ("25.00", "40.84")  # Table 4, ResNet50
    assert shown[0]["table"] == "LSASRD Table 4"


def test_a_command_is_remembered_without_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["search.py", "--space", "small.py", "--storage=postgresql://me:secret@host/name"]
    monkeypatch.setattr("sys.argv", words)
    expected = "python -m platform.search --space small.py '--storage=postgresql://me:***@host/name'"
    assert typed_command("platform.search") == expected


def test_a_call_is_remembered_without_passwords_and_defaults() -> None:
    config = SearchConfig(space="transreid", trials=3, objective="mAP", storage="postgresql://me:secret@host/name")
    assert call_of("search", config) == (
        "search(SearchConfig(space='transreid', trials=3, objective=('mAP',), storage='postgresql://me:***@host/name'))"
    )


@pytest.mark.integration
def test_a_start_is_remembered(search: ResolvedSearch) -> None:
    start = json.loads(json.dumps(start_of_search(changed(search, command="python -m platform.search"))))
    assert start["command"] == "python -m platform.search"
    assert start["data"] == search.setup.data
    assert start["chance"] == search.goal.chance
    assert start["chance_by_fold"] == [search.goal.chance]
    assert {"code", "python", "torch", "timm", "ray", "optuna", "mlflow", "CPU", "GPU"} <= start["environment"].keys()


def test_other_data_than_the_studys_are_refused(tmp_path: Path, shards: Path) -> None:
    stored = StoredStudy(study=study_by_hand())
    with pytest.raises(Error, match="has fingerprint"):
        subject_of(stored, str(shards))
    stored.study.set_user_attr("last_start", {"data": str(tmp_path / "gone")})
    assert "gone" in subject_of(stored, None).why_no_manifest
