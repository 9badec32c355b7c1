"""Spaces are checked against the recipes before anything is started."""

import os
import sys
from pathlib import Path

import optuna
import pytest

from platform.resolve import resolve_search
from platform.search import parse
from platform.spaces import loading
from platform.spaces.loading import load_space
from platform.spaces.registry import space_names
from shards_tools.errors import Error
from trainables.recipes import RECIPES


@pytest.mark.parametrize("scale", ["paper", "tiny"])
@pytest.mark.parametrize("name", space_names())
def test_every_draw_of_every_space_is_a_recipe_of_its_scale(name: str, scale: str) -> None:
    space = load_space(name, scale)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(50):
        assert space.recipe(study.ask(), epochs=None).scale == scale


def test_the_first_paper_row_of_both_scales_has_the_papers_learning_rate() -> None:
    for scale in ("paper", "tiny"):
        assert load_space("transreid", scale).baselines["paper ViT-Base"]["sgd_lr"] == 0.008
    assert RECIPES["transreid-vit-base"].lr == 0.008


def test_a_file_without_scales_is_the_same_space_at_each(small_space: Path) -> None:
    assert load_space(str(small_space), "paper").distributions == load_space(str(small_space), "tiny").distributions


def test_a_change_of_the_same_second_and_length_is_read(small_space: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    load_space(str(small_space), "tiny")
    before = small_space.stat()
    small_space.write_text(small_space.read_text().replace("1e-4, 1e-2", "1e-4, 1e-1"))
    os.utime(small_space, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert small_space.stat().st_size == before.st_size
    assert '"high": 0.1' in load_space(str(small_space), "tiny").distributions["lr"]
    assert not (small_space.parent / "__pycache__").exists()


def test_a_file_that_does_not_import_is_named_with_its_fault(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def suggest(trial:")
    with pytest.raises(Error, match=r"mine\.py cannot be imported: SyntaxError: '\(' was never closed"):
        load_space(str(path), "tiny")


def test_a_file_can_import_the_modules_next_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "lib_of_mine.py").write_text("BOUNDS = (1e-4, 1e-2)\n")
    path = tmp_path / "mine.py"
    path.write_text(
        "import lib_of_mine\ndef suggest(trial):\n"
        "    return {'recipe': 'agw-tiny', 'lr': trial.suggest_float('lr', *lib_of_mine.BOUNDS)}\n"
    )
    assert '"high": 0.01' in load_space(str(path), "tiny").distributions["lr"]


def test_a_neighbor_does_not_replace_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "tabnanny", raising=False)  # any module of the standard library
    (tmp_path / "tabnanny.py").write_text("1 / 0\n")
    path = tmp_path / "mine.py"
    path.write_text("import tabnanny\ndef suggest(trial):\n    return {'recipe': 'agw-tiny'}\n")
    assert load_space(str(path), "tiny").name == "mine"


def test_a_dataclass_in_a_file_with_postponed_annotations_works(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass Bounds:\n    low: float = 1e-4\n"
        "def suggest(trial):\n"
        "    return {'recipe': 'agw-tiny', 'lr': trial.suggest_float('lr', Bounds().low, 1e-2)}\n"
    )
    assert '"low": 0.0001' in load_space(str(path), "tiny").distributions["lr"]


def test_a_module_that_is_missing_is_named_with_the_places_for_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("import no_such_lib\n")
    with pytest.raises(Error, match=r"No module named 'no_such_lib'\. Install it, or put it next to the file\."):
        load_space(str(path), "tiny")


@pytest.mark.parametrize("choice", ["(1, 2)", "[1, 2]", "{'a': 1}", "range(3)", "numpy.int64(1)"])
def test_choices_that_a_study_cannot_store_are_refused(tmp_path: Path, choice: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        f"import numpy\ndef suggest(trial):\n    trial.suggest_categorical('milestones', ('none', {choice}))\n"
        "    return {'recipe': 'agw-tiny'}\n"
    )
    with pytest.raises(
        Error, match=r"parameter 'milestones' has the choice .* of type \w+, which a study cannot store"
    ) as refused:
        load_space(str(path), "tiny")
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("choices", ["1, True", "0.0, 0", "False, 0"])
def test_choices_that_a_study_cannot_tell_apart_are_refused(tmp_path: Path, choices: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        f"def suggest(trial):\n    trial.suggest_categorical('rate', (0.1, {choices}))\n"
        "    return {'recipe': 'agw-tiny'}\n"
    )
    with pytest.raises(Error, match=r"parameter 'rate' has the choices .* which are equal"):
        load_space(str(path), "tiny")


def test_the_remedy_for_tuples_works_in_a_study_that_is_opened_twice(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "def suggest(trial):\n"
        "    name = trial.suggest_categorical('milestones', ('short', 'long'))\n"
        "    milestones = {'short': (1, 2), 'long': (2, 3)}[name]\n"
        "    return {'recipe': 'agw-tiny', 'schedule': 'multistep', 'milestones': milestones}\n"
    )
    space = load_space(str(path), "tiny")
    for _ in range(2):
        study = optuna.create_study(storage=f"sqlite:///{tmp_path / 'o.db'}", study_name="s", load_if_exists=True)
        assert space.recipe(study.ask(), None).milestones in ((1, 2), (2, 3))


# a branch that one draw in 50 takes, none of the first 190
RARE_BRANCH = """
def suggest(trial):
    settings = {"recipe": "agw-tiny"}
    door = trial.suggest_categorical("door", tuple(range(10)))
    window = trial.suggest_categorical("window", tuple(range(5)))
    if (door, window) == (6, 0):
        settings["weight_decay"] = trial.suggest_float("decay_behind_both", 0.0, 0.1)
    return settings


BASELINES = {"behind both": {"door": 6, "window": 0, "decay_behind_both": 0.05}}
"""


def test_a_branch_that_few_draws_take_is_found(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(RARE_BRANCH)
    assert set(load_space(str(path), "tiny").distributions) == {"door", "window", "decay_behind_both"}


def test_a_fault_in_a_branch_that_few_draws_take_is_found(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(RARE_BRANCH.replace('"weight_decay"]', '"weight_dekay"]'))
    with pytest.raises(Error, match=r"Did you mean 'weight_decay'\?"):
        load_space(str(path), "tiny")


def test_draws_end_where_nothing_new_comes_and_at_the_latest_at_a_bound(
    small_space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = len(load_space(str(small_space), "tiny").draws)
    assert loading.PATIENCE < few < loading.PATIENCE + 50
    monkeypatch.setattr(loading, "MOST_PROBES", 400)
    endless = tmp_path / "endless.py"
    endless.write_text(
        "def suggest(trial):\n"
        '    lr = trial.suggest_categorical("lr", tuple(number / 1e4 for number in range(1, 999)))\n'
        '    return {"recipe": "agw-tiny", "lr": lr}\n'
    )
    assert len(load_space(str(endless), "tiny").draws) == 400


def test_a_space_that_reads_tags_is_refused_on_data_without_any(shards: Path, tmp_path: Path) -> None:
    words = ["--space", "animesion_vilt", "--data", str(shards), "--scale", "tiny", "--runs", str(tmp_path / "runs")]
    with pytest.raises(Error, match=r"--space animesion_vilt needs tags, but .* has none"):
        resolve_search(parse(words)[0])
    assert not (tmp_path / "runs").exists()


def test_an_unknown_space_names_the_nearest() -> None:
    with pytest.raises(Error, match=r"'transried' is not a known space\. Did you mean 'transreid'\?"):
        load_space("transried", "tiny")


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(Error, match=r"The space file mine\.py does not exist"):
        load_space("mine.py", "tiny")


BAD_SPACES = {
    "an unknown recipe": ('return {"recipe": "transried-tiny"}', "transreid-tiny"),
    "an unknown key": ('return {"recipe": "transreid-tiny", "drop_pth": 0.1}', "Did you mean 'drop_path'"),
    "a value as text": ('return {"recipe": "transreid-tiny", "lr": "1e-3"}', "lr='1e-3' is str, not a number"),
    "no recipe": ('return {"lr": 0.1}', "Return a dict with the key 'recipe'"),
    "an error of its own": ("return 1 / 0", "ZeroDivisionError"),
    "two ranges of one parameter": (
        'jpm = trial.suggest_categorical("jpm", (False, True))\n'
        '    return {"recipe": "transreid-tiny", "jpm": jpm, "lr": trial.suggest_float("lr", 1e-4, 2 if jpm else 1)}',
        "'lr' has two ranges",
    ),
}


@pytest.mark.parametrize("fault", BAD_SPACES)
def test_a_space_with_a_fault_is_refused_and_the_fault_named(fault: str, tmp_path: Path) -> None:
    body, message = BAD_SPACES[fault]
    path = tmp_path / "mine.py"
    path.write_text(f"def suggest(trial):\n    {body}\n")
    with pytest.raises(Error, match="mine") as caught:
        load_space(str(path), "tiny")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


BAD_BASELINES = {
    "a value outside": ({"lr": 5.0}, "lr=5.0 is outside"),
    "a parameter too few": ({}, "lr"),
    "a parameter that is none": ({"lr": 0.1, "lrr": 0.1}, "Did you mean 'lr'"),
}


@pytest.mark.parametrize("fault", BAD_BASELINES)
def test_a_baseline_outside_of_its_space_is_refused(fault: str, tmp_path: Path) -> None:
    values, message = BAD_BASELINES[fault]
    path = tmp_path / "mine.py"
    path.write_text(
        "def suggest(trial):\n"
        '    return {"recipe": "transreid-tiny", "lr": trial.suggest_float("lr", 1e-4, 1.0)}\n'
        f"BASELINES = {{'row': {values!r}}}\n"
    )
    with pytest.raises(Error, match="baseline 'row'") as caught:
        load_space(str(path), "tiny")
    assert message in str(caught.value)
