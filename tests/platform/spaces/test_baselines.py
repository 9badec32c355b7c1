"""A baseline that is the name of a recipe: its parameters are found, or it is refused with the reason."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest

from platform.spaces import loading
from platform.spaces.loading import Space, load_space
from shards_tools.errors import Error
from trainables.recipes import RECIPES, get_recipe
from trainables.recipes.settings import settings_of

ROW = "transreid-vit-base-tiny"


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Hold the rows of Table 5 with ViT-Base; no parameter but `jpm` is called as the setting that it sets."""
    settings = {
        "recipe": ROW,
        "jpm": trial.suggest_categorical("jpm", (False, True)),
        "stride_px": {"none": 8, "some": 6, "most": 2}[trial.suggest_categorical("overlap", ("most", "some", "none"))],
    }
    if trial.suggest_categorical("is_fast", (True, False)):
        settings |= {"lr": trial.suggest_float("fast_lr", 0.1, 1.0, log=True), "warmup_epochs": 2}
    else:
        settings["lr"] = trial.suggest_float("slow_lr", 1e-3, 0.1, log=True)
        settings["warmup_epochs"] = trial.suggest_int("slow_warm_up", 0, 2)
    settings["crop_aspect"] = [trial.suggest_float("narrowest", 0.5, 1.0), 4 / 3]
    return settings


def with_baselines(baselines: object, suggest: Callable[..., Any] = suggest) -> SimpleNamespace:
    return SimpleNamespace(suggest=suggest, BASELINES=baselines)


def suggested_again(space: Space, label: str) -> dict[str, Any]:
    return settings_of(space.recipe(optuna.trial.FixedTrial(space.baselines[label]), epochs=None))


def test_a_listed_recipe_is_a_baseline_of_its_name_with_exactly_its_settings() -> None:
    space = load_space(with_baselines([ROW, "transreid-vit-stride-tiny"]), "tiny")
    common = {"is_fast": False, "slow_lr": 0.008, "slow_warm_up": 1, "narrowest": 3 / 4}
    assert space.baselines == {
        ROW: {"jpm": False, "overlap": "none", **common},
        "transreid-vit-stride-tiny": {"jpm": True, "overlap": "some", **common},
    }
    for name in space.baselines:
        assert suggested_again(space, name) == settings_of(get_recipe(name))


def test_a_square_recipe_is_found_among_sizes_that_are_written_as_height_x_width() -> None:
    def sized(trial: optuna.Trial) -> dict[str, Any]:
        return {"recipe": ROW, "image_size": trial.suggest_categorical("image_size", ("96x48", "48x48"))}

    space = load_space(with_baselines([ROW], sized), "tiny")
    assert space.baselines == {ROW: {"image_size": "48x48"}}
    assert suggested_again(space, ROW) == settings_of(RECIPES[ROW])
    assert space.recipe(optuna.trial.FixedTrial({"image_size": "96x48"}), epochs=None).size == (96, 48)


def test_numbers_have_the_types_of_their_ranges() -> None:
    (point,) = load_space(with_baselines([ROW]), "tiny").baselines.values()
    assert [type(point[name]) for name in ("slow_lr", "slow_warm_up", "jpm")] == [float, int, bool]


def test_labels_may_name_recipes_next_to_parameters_of_other_baselines() -> None:
    by_hand = {"jpm": False, "overlap": "most", "is_fast": True, "fast_lr": 0.5, "narrowest": 0.5}
    space = load_space(with_baselines({"paper ViT-Base": ROW, "by hand": by_hand}), "tiny")
    assert list(space.baselines) == ["paper ViT-Base", "by hand"]
    assert space.baselines["by hand"] == by_hand
    assert suggested_again(space, "paper ViT-Base") == settings_of(RECIPES[ROW])


def test_a_baseline_is_a_papers_row_if_its_recipe_is_one_whatever_its_label() -> None:
    by_hand = {"jpm": False, "overlap": "most", "is_fast": True, "fast_lr": 0.5, "narrowest": 0.5}
    space = load_space(with_baselines({"mine": ROW, "paper by hand": by_hand}), "tiny")
    assert space.paper_rows == {"mine": ("LSASRD Table 5", "ViT-Base")}
    of_list = load_space(with_baselines(["transreid-vit-stride-tiny"]), "tiny")
    assert of_list.paper_rows == {"transreid-vit-stride-tiny": ("LSASRD Table 5", "ViT-Stride")}


@pytest.mark.parametrize("unprinted", ["open-tiny", "transreid-tiny", "open-dinov2-base"])
def test_a_recipe_that_no_paper_prints_is_no_papers_row(unprinted: str) -> None:
    space = load_space(with_baselines([unprinted], lambda _: {"recipe": unprinted}), "tiny")
    assert (list(space.baselines), space.paper_rows) == ([unprinted], {})


def test_a_branch_is_found_that_is_no_nearer_until_its_own_parameter_is_right() -> None:
    def gated(trial: optuna.Trial) -> dict[str, Any]:
        is_on = trial.suggest_categorical("gate", (False, True))
        return {"recipe": ROW, "id_margin": trial.suggest_float("angle", 0.3, 0.95) if is_on else 0.0}

    assert load_space(with_baselines([ROW], gated), "tiny").baselines == {ROW: {"gate": True, "angle": 0.5}}


def test_each_scale_has_its_own_list() -> None:
    def at_scale(trial: optuna.Trial, scale: str) -> dict[str, Any]:
        recipe = {"paper": "agw-resnet50", "tiny": "agw-resnet50-tiny"}[scale]
        return {"recipe": recipe, "lr": trial.suggest_float("lr", 1e-3, 1e-1)}

    mine = with_baselines({"paper": ["agw-resnet50"], "tiny": {"row": "agw-resnet50-tiny"}}, at_scale)
    assert load_space(mine, "paper").baselines == {"agw-resnet50": {"lr": 0.01}}
    assert load_space(mine, "tiny").baselines == {"row": {"lr": 0.01}}


def test_a_file_may_list_a_recipe_that_it_registers(own_registrations: None, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from trainables import register_recipe\n"
        'register_recipe("mine-listed", base="agw-tiny", lr=0.03)\n'
        "def suggest(trial):\n"
        '    return {"recipe": "agw-tiny", "lr": trial.suggest_float("rate", 1e-3, 1e-1)}\n'
        'BASELINES = ["mine-listed"]\n'
    )
    assert load_space(str(path), "tiny").baselines == {"mine-listed": {"rate": 0.03}}


def unsteady(trial: optuna.Trial) -> dict[str, Any]:
    return {**suggest(trial), "erase_probability": 0.25 + trial.suggest_float("erase_more", 0.0, 0.5)}


def with_an_idle_parameter(trial: optuna.Trial) -> dict[str, Any]:
    trial.suggest_float("idle", 0.0, 1.0)
    return suggest(trial)


def with_an_idle_choice(trial: optuna.Trial) -> dict[str, Any]:
    trial.suggest_categorical("idle", ("a", "b"))
    return suggest(trial)


LABELS = "map a label to the parameters"
REFUSED = {
    "a name that is none": (["transried-vit-base-tiny"], suggest, f"Did you mean '{ROW}'?"),
    "values outside": (["transreid-vit-small-tiny"], suggest, "does not reach erase_probability=0.8, backbone="),
    "another family": (["agw-resnet50-tiny"], suggest, "does not reach system='agw'"),
    "a number that is computed": ([ROW], unsteady, "does not reach erase_probability=0.5 of recipe"),
    "a number without effect": ([ROW], with_an_idle_parameter, "several values of parameter 'idle'"),
    "a choice without effect": ([ROW], with_an_idle_choice, "several values of parameter 'idle'"),
    "one name without a list": (ROW, suggest, "BASELINES is invalid"),
    "no names": ([{"lr": 0.1}], suggest, "BASELINES is invalid"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_recipe_that_is_no_point_of_the_space_is_refused_in_one_line(fault: str) -> None:
    baselines, function, message = REFUSED[fault]
    with pytest.raises(Error, match=r"^Space SimpleNamespace") as caught:
        load_space(with_baselines(baselines, function), "tiny")
    text = str(caught.value)
    assert message in text
    assert "\n" not in text
    assert len(text) < 400
    if isinstance(baselines[0], str) and len(baselines[0]) > 1:
        assert baselines[0] in text


def test_an_exception_of_suggest_that_only_a_recipe_leads_to_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "PATIENCE", 3)

    def fragile(trial: optuna.Trial) -> dict[str, Any]:
        lr = trial.suggest_float("lr", 1e-3, 1e-1)
        return {"recipe": "agw-resnet50-tiny", "lr": 1 / 0 if lr == 0.01 else lr}

    with pytest.raises(Error, match=r"suggest\(\) raised ZeroDivisionError"):
        load_space(with_baselines(["agw-resnet50-tiny"], fragile), "tiny")
