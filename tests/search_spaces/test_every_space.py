"""Every space holds the papers' rows, starts from them, and reaches every branch it has."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import optuna
import pytest
import torch

from platform.spaces import loading
from platform.spaces.conditions import conditions_of
from platform.spaces.loading import Space
from platform.spaces.registry import space_names
from tests.search_spaces.draws import covering_draws
from tests.search_spaces.rows import Answers, OutsideOfTheSpace
from trainables.models import build_model
from trainables.recipes import RECIPES, get_recipe
from trainables.recipes.backbones import get_backbone
from trainables.recipes.recipe import Recipe
from trainables.recipes.settings import override, settings_of

SCALES = ("paper", "tiny")
load_space = cache(loading.load_space)

# space -> scale -> baseline -> the recipe that it is
ROWS = {
    "agw": {
        "paper": {"paper ResNet50": "agw-resnet50", "paper ResNet50 NL": "agw-resnet50-nl"},
        "tiny": {"paper ResNet50": "agw-resnet50-tiny", "paper ResNet50 NL": "agw-resnet50-nl-tiny"},
    },
    "animesion": {
        "paper": {"paper L-16": "animesion-l16", "paper L-16 + IFA": "animesion-l16-ifa"},
        "tiny": {"paper L-16": "animesion-l16-tiny", "paper L-16 + IFA": "animesion-l16-ifa-tiny"},
    },
    "animesion_vilt": {
        "paper": {"paper ViLT L-16": "animesion-l16-vilt"},
        "tiny": {"paper ViLT L-16": "animesion-l16-vilt-tiny"},
    },
    "dafre": {
        "paper": {
            "paper R-18": "dafre-128-r18",
            "paper R-18, pretrained": "dafre-128-r18-pretrained",
            "paper B-16, pretrained": "dafre-128-b16-pretrained",
            "paper L-16, pretrained": "dafre-128-l16-pretrained",
        },
        "tiny": {"paper R-18": "dafre-128-r18-tiny", "paper B-16": "dafre-128-b16-tiny"},
    },
    "icartoonface": {
        "paper": {"paper ResNet50": "icartoonface-resnet50"},
        "tiny": {"paper ResNet50": "icartoonface-resnet50-tiny"},
    },
    "moeimouto": {
        "paper": {
            "paper R-18": "moeimouto-128-r18",
            "paper SN, 224 px": "moeimouto-224-sn",
            "paper R-18, 224 px": "moeimouto-224-r18",
            "paper L-16, pretrained": "moeimouto-128-l16-pretrained",
        },
        "tiny": {"paper R-18": "moeimouto-128-r18-tiny", "paper B-16": "moeimouto-128-b16-tiny"},
    },
    "open": {
        "paper": {
            "DINOv2-B": "open-dinov2-base",
            "DINOv3-B": "open-dinov3-base",
            "WD ViT tagger": "open-wd-vit-tagger",
        },
        "tiny": {"DINOv2-B": "open-dinov2-base-tiny", "DINOv3-B": "open-dinov3-base-tiny"},
    },
    "transreid": {
        "paper": {"paper ViT-Base": "transreid-vit-base", "paper ViT-Stride": "transreid-vit-stride"},
        "tiny": {"paper ViT-Base": "transreid-vit-base-tiny", "paper ViT-Stride": "transreid-vit-stride-tiny"},
    },
}
FAMILYS_PIXELS = {"pixel_mean", "pixel_std", "channels_last"}
# space -> the recipe that its hand-set baseline is, and where it keeps to the papers' rows, as all its draws do
HAND_SET = {
    "agw": ("agw-tiny", {*FAMILYS_PIXELS, "erase_fill"}),
    "animesion": ("animesion-tiny", {"enlarge_px"}),
    "animesion_vilt": ("animesion-tiny", {"enlarge_px", "text_tokens"}),
    "dafre": ("dafre-tiny", {*FAMILYS_PIXELS, "enlarge_px", "lr_fall"}),
    "icartoonface": ("icartoonface-tiny", {*FAMILYS_PIXELS, "crop_law"}),
    "moeimouto": ("dafre-tiny", {*FAMILYS_PIXELS, "enlarge_px", "lr_fall"}),
    "open": ("open-tiny", {*FAMILYS_PIXELS, "clip_norm", "warmup_epochs"}),
    "transreid": ("transreid-tiny", set()),
}
# rows that no trial of their family's space can be
LEFT_OUT = {
    "agw-resnet50-ibn-a": "its weights are in no registry",
    "dafre-224": "200 epochs, where every trial of the space has 50",
    "transreid-deit": "DeiT is not searched: ViT with the same shape and better weights is",
    "transreid-vit-small": "its weights are in no registry",
}


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def recipe_of(space: Space, values: dict[str, Any]) -> Recipe:
    return space.recipe(optuna.trial.FixedTrial(values), epochs=None)


def differing(one: Recipe, other: Recipe) -> set[str]:
    first, second = settings_of(one), settings_of(other)
    return {key for key in first if first[key] != second[key]}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", space_names())
def test_the_baselines_of_a_space_are_the_recipes_of_the_same_rows(name: str, scale: str) -> None:
    space, rows = load_space(name, scale), ROWS[name][scale]
    assert set(space.baselines) - {"hand-set"} == set(rows)
    for row, recipe in rows.items():
        assert differing(recipe_of(space, space.baselines[row]), get_recipe(recipe)) == set()
        answers = Answers(settings_of(get_recipe(recipe)))
        space.recipe(answers, None)
        assert space.baselines[row] == answers.params


@pytest.mark.parametrize("name", space_names())
def test_the_hand_set_baseline_is_the_recipe_set_by_hand_but_for_what_the_space_fixes(name: str) -> None:
    space, (recipe, fixed) = load_space(name, "tiny"), HAND_SET[name]
    drawn = recipe_of(space, space.baselines["hand-set"])
    rescaled = recipe_of(space, next(iter(space.baselines.values())))
    different = differing(drawn, get_recipe(recipe))
    assert different <= fixed
    for key in different - {"channels_last"}:  # which goes with the backbone
        assert getattr(drawn, key) == getattr(rescaled, key)


def _rows_of(name: str) -> list[Recipe]:
    """Every row that a paper prints and every recipe of `open`, by the space that should hold it."""
    rows = [recipe for recipe in RECIPES.values() if recipe.scale == "paper" and (recipe.table or name == "open")]
    if name in ("dafre", "moeimouto"):
        return [row for row in rows if row.name.startswith("moeimouto" if name == "moeimouto" else "daf")]
    if name.startswith("animesion"):
        return [row for row in rows if row.system == "animesion" and ("vilt" in row.name) == ("vilt" in name)]
    return [row for row in rows if row.system == name]


@pytest.mark.parametrize("name", space_names())
def test_a_space_holds_every_row_that_a_paper_prints(name: str) -> None:
    space, rows = load_space(name, "paper"), _rows_of(name)
    assert rows
    outside = {}
    for row in rows:
        try:
            different: object = differing(space.recipe(Answers(settings_of(row)), None), row)
        except OutsideOfTheSpace as reason:
            different = reason
        if different:
            outside[row.name] = different
    assert set(outside) == {row.name for row in rows if row.name.startswith(tuple(LEFT_OUT))}, outside


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", space_names())
def test_the_choices_that_lead_to_a_parameter_can_be_told(name: str, scale: str) -> None:
    space = load_space(name, scale)
    choices = {key: _choices(text) for key, text in space.distributions.items()}
    conditions = conditions_of(space.draws, {key: values for key, values in choices.items() if values})
    assert set(conditions) == set(space.distributions)
    assert None not in conditions.values()


def _choices(distribution: str) -> Sequence[Any]:
    parsed = optuna.distributions.json_to_distribution(distribution)
    return getattr(parsed, "choices", ())


CONDITIONS = {
    ("agw", "paper"): {"triplet_margin": {"metric_loss": ["triplet"]}, "adam_lr": {"optimizer": ["adam"]}},
    ("animesion", "tiny"): {"exclusion_distance": {"exclusion": [True]}},
    ("animesion_vilt", "tiny"): {
        "mask_with": {"masking": ["bert", "full", "sigmoid"]},
        "mask_warmup": {"masking": ["sigmoid"]},
    },
    ("dafre", "paper"): {
        "frozen_backbone": {"pretrained": [True]},
        "label_smoothing": {"id_loss": ["softmax"]},
        "image_size": {"backbone": ["shallownet", "resnet18", "vit_base_patch32_in21k"]},
    },
    ("icartoonface", "tiny"): {"least_crop_area": {"crops": ["resized"]}, "cosface_margin": {"id_loss": ["cosface"]}},
    ("moeimouto", "paper"): {"batch_size_of_light": {"backbone": ["shallownet", "resnet18", "vit_base_patch32_in21k"]}},
    ("open", "paper"): {
        "layer_lr_decay": {"frozen_backbone": [False]},
        "image_size_at_patch_14": {"backbone": ["dinov2_small", "dinov2_base", "eva02_base", "wd_eva02_large_tagger"]},
        "temperature": {"metric_loss": ["supcon"]},
    },
    ("transreid", "tiny"): {"stride_px_at_48": {"image_size": [48]}},
}


@pytest.mark.parametrize(("name", "scale"), CONDITIONS)
def test_a_parameter_exists_in_its_branch_alone(name: str, scale: str) -> None:
    space = load_space(name, scale)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=7))
    for _ in range(200):
        trial = study.ask()
        space.recipe(trial, None)
        for parameter, condition in CONDITIONS[name, scale].items():
            is_led_to = all(trial.params.get(key) in values for key, values in condition.items())
            assert (parameter in trial.params) == is_led_to


@pytest.mark.parametrize("name", space_names())
def test_weights_that_are_asked_for_are_in_a_registry(name: str) -> None:
    space = load_space(name, "paper")
    for draw in covering_draws(space):
        recipe = recipe_of(space, draw)
        shape = get_backbone(recipe.backbone)
        assert not recipe.pretrained or (shape.pretrained_name is not None and shape.in_registry)


@pytest.mark.integration
@pytest.mark.parametrize("name", space_names())
def test_every_choice_at_paper_scale_gives_a_network(name: str) -> None:
    space = load_space(name, "paper")
    for draw in covering_draws(space):
        recipe = override(recipe_of(space, draw), {"pretrained": False, "channels_last": False})
        num_words = 9 if getattr(recipe, "text_tokens", 0) else 0
        with torch.device("meta"):
            model = build_model(recipe, 5, num_words).train()
            images = torch.zeros((2, recipe.image_size, recipe.image_size, 3), dtype=torch.uint8)
            words = torch.zeros((2, recipe.text_tokens), dtype=torch.int64) if num_words else None
            outputs = model(images, words)
        assert outputs.logits[0].shape == (2, 5)
