"""The settings of a recipe for reading, augmenting and normalizing images."""

import math
import re
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from trainables.recipes.checks import at_least_zero, probabilities, require

JITTERS = ("jitter_brightness", "jitter_contrast", "jitter_saturation", "jitter_hue")  # in ColorJitter's order
IMAGENET: dict[str, Any] = {"pixel_mean": (0.485, 0.456, 0.406), "pixel_std": (0.229, 0.224, 0.225)}
ImageSize = int | str  # an integer for square images, else HEIGHTxWIDTH as in 256x128
SIZE_RULE = "an integer above 0, or HEIGHTxWIDTH in px, as in 256x128"


class Size(NamedTuple):
    """Height and width of images in px."""

    height: int
    width: int

    @property
    def setting(self) -> ImageSize:
        """The value of `image_size` that a recipe stores."""
        return self.height if self.height == self.width else f"{self.height}x{self.width}"

    def __str__(self) -> str:
        return str(self.setting)


def as_size(value: object) -> Size | None:
    """Return the size that a value of `image_size` describes, or None if it describes none."""
    if type(value) is int:
        return Size(value, value)
    sides = re.fullmatch(r"([0-9]{1,6})(?:x([0-9]{1,6}))?", value) if isinstance(value, str) else None
    return Size(int(sides[1]), int(sides[2] or sides[1])) if sides else None


@dataclass(frozen=True, kw_only=True)
class ImageSettings:
    """How an image of a shard becomes the input of the network."""

    image_size: ImageSize  # in px
    evaluation_px: int = 0  # evaluation: short side in px before a center crop; 0: stretch to image_size
    flip_probability: float = 0.5
    pad_px: int = 10  # zero padding before the random crop
    enlarge_px: int = 0  # training images are read this much higher and wider, then cropped to image_size
    crop_area: tuple[float, float] | None = None  # fractions of the image's area for resized crops; None: off
    crop_aspect: tuple[float, float] = (3 / 4, 4 / 3)  # width / height of a resized crop
    crop_law: Literal["torchvision", "paddle"] = "torchvision"  # how a resized crop is sampled; see data/crops.py
    train_resize: Literal["bilinear", "bicubic"] = "bilinear"  # of training images; evaluation is bilinear
    jitter_brightness: float = 0.0  # as in torchvision's ColorJitter; 0 is off
    jitter_contrast: float = 0.0
    jitter_saturation: float = 0.0
    jitter_hue: float = 0.0
    erase_probability: float = 0.5
    erase_fill: Literal["pixel", "constant", "agw"] = "pixel"  # normal noise, pixel_mean, or as in AGW's code
    pixel_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    pixel_std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    @property
    def size(self) -> Size:
        """The height and width of `image_size`."""
        size = as_size(self.image_size)
        assert size is not None  # it has been checked
        return size

    @property
    def trained_on_other_pixels(self) -> bool:
        """Whether training reads images in another size, or resized in another way, than evaluation."""
        resized = self.enlarge_px > 0 or self.train_resize != "bilinear"
        return resized or self.crop_area is not None or self.evaluation_px > 0


def check_images(recipe: Any) -> None:
    """Raise an Error if the image settings are invalid; store equal sides of `image_size` as an integer."""
    size = as_size(recipe.image_size)
    require(recipe, "image_size", size is not None and min(size) > 0, SIZE_RULE)
    assert size is not None
    object.__setattr__(recipe, "image_size", size.setting)  # the recipe is frozen, and this is its construction
    require(recipe, "pixel_std", len(recipe.pixel_mean) == 3 == len(recipe.pixel_std), "one value per channel")
    require(recipe, "pixel_std", min(recipe.pixel_std) > 0, "above 0")
    at_least_zero(recipe, "pad_px", "enlarge_px")
    probabilities(recipe, "flip_probability", "erase_probability")
    rule = f"0, or at least image_size ({size})"
    require(recipe, "evaluation_px", recipe.evaluation_px == 0 or recipe.evaluation_px >= max(size), rule)
    for key in ("jitter_brightness", "jitter_contrast", "jitter_saturation", "jitter_hue"):
        value, most = getattr(recipe, key), 0.5 if key == "jitter_hue" else math.inf
        require(recipe, key, math.isfinite(value) and 0 <= value <= most, f"a finite number in 0..{most:g}")
    low, high = recipe.crop_aspect if len(recipe.crop_aspect) == 2 else (0, 0)
    require(recipe, "crop_aspect", 0 < low <= high < math.inf, "two finite numbers above 0, the lower first")
    if recipe.crop_area is not None:
        low, high = recipe.crop_area if len(recipe.crop_area) == 2 else (0, 0)
        require(recipe, "crop_area", 0 < low <= high <= 1, "none, or two fractions above 0, the lower first")
        for key in ("pad_px", "enlarge_px"):
            require(recipe, key, getattr(recipe, key) == 0, "0 with crop_area, which crops the image itself")
        rule = "bilinear with crop_area, whose crops are resized bilinearly"
        require(recipe, "train_resize", recipe.train_resize == "bilinear", rule)
