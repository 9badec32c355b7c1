"""What every recipe says, how its values are checked, and how single values are set."""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from shards_tools.errors import Error, unknown
from shards_tools.plans import PLANS
from trainables.recipes.backbones import get_backbone

IDENTITY_FIELDS = ("name", "system", "table", "row", "scale")  # what a recipe is; the other fields are what it sets


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A full training configuration: the fields that every family shares."""

    name: str
    system: str  # the family: which model and which losses
    table: str | None  # the paper's table that prints this row's numbers; None: no paper prints it
    row: str | None
    scale: Literal["paper", "tiny"]

    backbone: str
    pretrained: bool  # start from the ImageNet weights that the backbone names
    weights_file: str | None = None  # these weights as a local file; None: from the Hugging Face hub
    image_size: int  # height and width in px

    plan: Literal["full", "papers", "shuffle", "balanced", "cross_role"] = "full"  # which images form which batch
    works_per_batch: int = 16  # P
    images_per_work: int = 4  # K
    images_per_epoch: int | None = None  # None: a whole pass of the plan; else short epochs that cover it in turn
    flip_probability: float = 0.5
    pad_px: int = 10  # zero border before the random crop
    enlarge_px: int = 0  # training images are read so much larger and cropped to image_size
    crop_area: tuple[float, float] | None = None  # fractions of the area that a resized crop takes; None: no such crop
    crop_aspect: tuple[float, float] = (3 / 4, 4 / 3)  # width / height of a resized crop
    jitter_brightness: float = 0.0  # as in torchvision's ColorJitter; 0 is off
    jitter_contrast: float = 0.0
    jitter_saturation: float = 0.0
    jitter_hue: float = 0.0
    erase_probability: float = 0.5
    erase_fill: Literal["pixel", "constant"] = "pixel"  # normal noise, or the pixel_mean
    pixel_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    pixel_std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    optimiser: Literal["sgd", "adamw"] = "sgd"
    lr: float
    momentum: float = 0.9  # of SGD; AdamW keeps torch's betas
    weight_decay: float = 1e-4  # of every parameter, biases and norms too, as in the papers
    bias_lr_factor: float = 2.0  # the learning rate of biases is this many times the others'
    warmup_epochs: int = 5
    epochs: int = 100

    def __post_init__(self) -> None:
        get_backbone(self.backbone)
        self._require(len(self.pixel_mean) == 3 and len(self.pixel_std) == 3, "pixel_std", "one value per channel")
        self._require(min(self.pixel_std) > 0, "pixel_std", "above 0")
        for key in ("image_size", "works_per_batch", "images_per_work", "lr", "bias_lr_factor", "epochs"):
            value = getattr(self, key)
            self._require(math.isfinite(value) and value > 0, key, "a finite number above 0")
        for key in ("pad_px", "enlarge_px", "weight_decay", "momentum", "warmup_epochs"):
            value = getattr(self, key)
            self._require(math.isfinite(value) and value >= 0, key, "a finite number of at least 0")
        for key in ("flip_probability", "erase_probability"):
            self._require(0 <= getattr(self, key) <= 1, key, "a probability, in 0..1")
        self._check_augmentation()
        self._require(self.momentum < 1, "momentum", "below 1")
        self._require(self.scale in ("paper", "tiny"), "scale", "paper or tiny")
        self._require(self.optimiser in ("sgd", "adamw"), "optimiser", "sgd or adamw")
        self._require(self.plan in PLANS, "plan", f"one of {', '.join(PLANS)}")
        self._require(self.images_per_work >= 2, "images_per_work", "at least 2, or no image has a positive")
        self._require(self.works_per_batch >= 2, "works_per_batch", "at least 2, or no image has a negative")
        if self.images_per_epoch is not None:
            batch = self.works_per_batch * self.images_per_work
            self._require(
                self.images_per_epoch >= batch, "images_per_epoch", f"none, or at least one batch of {batch} images"
            )
        if self.pretrained and get_backbone(self.backbone).pretrained_name is None:
            raise Error(f"{self.name}: backbone {self.backbone!r} has no pretrained weights. Set pretrained=false.")

    def _check_augmentation(self) -> None:
        for key in ("jitter_brightness", "jitter_contrast", "jitter_saturation", "jitter_hue"):
            value, most = getattr(self, key), 0.5 if key == "jitter_hue" else math.inf
            self._require(math.isfinite(value) and 0 <= value <= most, key, f"a finite number in 0..{most:g}")
        low, high = self.crop_aspect if len(self.crop_aspect) == 2 else (0, 0)
        self._require(0 < low <= high < math.inf, "crop_aspect", "two finite numbers above 0, the lower first")
        self._require(self.erase_fill in ("pixel", "constant"), "erase_fill", "pixel or constant")
        if self.crop_area is not None:
            low, high = self.crop_area if len(self.crop_area) == 2 else (0, 0)
            self._require(0 < low <= high <= 1, "crop_area", "none, or two fractions above 0, the lower first")
            for key in ("pad_px", "enlarge_px"):
                self._require(getattr(self, key) == 0, key, "0 where crop_area is set, which crops by itself")

    def _require(self, holds: bool, key: str, rule: str) -> None:
        if not holds:
            raise Error(f"{self.name}: {key}={getattr(self, key)!r} does not do: it must be {rule}.")


AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)


def override(recipe: AnyRecipe, values: Mapping[str, object]) -> AnyRecipe:
    """The recipe with these fields set; names, types and ranges are checked."""
    kinds = settable(recipe)
    changes: dict[str, Any] = {}
    for key, value in values.items():
        changes[key] = _typed(recipe, key, value, _kind(recipe, key, kinds))
    return dataclasses.replace(recipe, **changes)


def parse_settings(settings: Sequence[str], recipe: Recipe) -> dict[str, object]:
    """The values that `key=value` texts set, each read as its field's type; `none` switches a field off."""
    kinds = settable(recipe)
    values: dict[str, object] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise Error(f"{setting!r} sets nothing. Write key=value, as in lr=0.01.")
        values[key] = _parsed(recipe, key, text, _kind(recipe, key, kinds))
    return values


def settable(recipe: Recipe) -> dict[str, Any]:
    """Field name -> type of all that may be set in this recipe."""
    kinds = typing.get_type_hints(type(recipe))
    return {field.name: kinds[field.name] for field in dataclasses.fields(recipe) if field.name not in IDENTITY_FIELDS}


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """Every field that may be set, with its value: together with the recipe's name, the whole recipe."""
    return {key: getattr(recipe, key) for key in settable(recipe)}


def _kind(recipe: Recipe, key: str, kinds: Mapping[str, Any]) -> Any:
    if key in IDENTITY_FIELDS:
        raise Error(f"{key} of {recipe.name} says which recipe this is and cannot be set. Name another recipe instead.")
    if key not in kinds:
        raise unknown("recipe key", key, kinds)
    return kinds[key]


def _typed(recipe: Recipe, key: str, value: object, kind: Any) -> object:
    """`value` as the field's type, or the error that names both."""
    if isinstance(kind, types.UnionType):
        return None if value is None else _typed(recipe, key, value, typing.get_args(kind)[0])
    if typing.get_origin(kind) is Literal:
        if value not in typing.get_args(kind):
            raise _not_a_choice(recipe, key, value, typing.get_args(kind))
        return value
    if typing.get_origin(kind) is tuple and isinstance(value, list | tuple):
        return tuple(_typed(recipe, key, entry, float) for entry in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind in (bool, int, float, str) and type(value) is kind:
        return value
    hint = " Write it as a number, without quotes." if kind in (int, float) and isinstance(value, str) else ""
    raise Error(f"{recipe.name}: {key}={value!r} is {type(value).__name__}, not {_spoken(kind)}.{hint}")


def _not_a_choice(recipe: Recipe, key: str, value: object, choices: Sequence[str]) -> Error:
    nearest = difflib.get_close_matches(str(value), choices, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return Error(f"{recipe.name}: {key}={value!r} is none of {', '.join(choices)}.{hint}")


def _parsed(recipe: Recipe, key: str, text: str, kind: Any) -> object:
    if isinstance(kind, types.UnionType):
        return None if text.lower() == "none" else _parsed(recipe, key, text, typing.get_args(kind)[0])
    if kind is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    elif typing.get_origin(kind) is tuple:
        return tuple(_parsed(recipe, key, part, float) for part in text.split(","))
    elif kind is not bool:
        return text
    raise Error(f"{recipe.name}: {key}={text} is not {_spoken(kind)}.")


def _spoken(kind: Any) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    counts = {2: "two numbers, as in 0.5,1", 3: "three numbers, as in 0.5,0.5,0.5"}
    return names.get(kind) or counts[len(typing.get_args(kind))]
