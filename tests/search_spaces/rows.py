"""Finds a recipe in a space: a trial that answers every question with what the recipe has."""

from collections.abc import Sequence
from typing import Any

# parameters that are not called as the key that they set
SPOKEN: dict[str, Any] = {
    "jitter": lambda settings: settings["jitter_hue"],
    "crops": lambda settings: "resized" if settings["crop_area"] else "padded",
    "least_crop_area": lambda settings: settings["crop_area"][0],
    "exclusion": lambda settings: settings["exclusion_weight"] > 0,
    "triplet_margin": lambda settings: settings["metric_margin"],
    "metric_circle_margin": lambda settings: settings["metric_margin"],
    **{
        name: lambda settings: settings["id_margin"]
        for name in ("arcface_margin", "cosface_margin", "id_arcface_margin", "id_cosface_margin", "id_circle_margin")
    },
}
OPTIMIZERS = ("sgd_", "adam_", "adamw_")


class OutsideOfTheSpace(Exception):
    """Raised where the space does not hold what the recipe has."""


class Answers:
    """Suggests what `settings` have.

    A parameter has the name of the key that it sets, possibly after an optimizer or before its branch; the others are
    in SPOKEN.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.params: dict[str, Any] = {}  # what was suggested

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._checked(name, self._value(name) in choices)

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return self._checked(name, low <= self._value(name) <= high)

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return self._checked(name, low <= self._value(name) <= high)

    def _checked(self, name: str, is_inside: bool) -> Any:
        if not is_inside:
            raise OutsideOfTheSpace(f"{name} = {self._value(name)!r}")
        self.params[name] = self._value(name)
        return self.params[name]

    def _value(self, name: str) -> Any:
        if name in SPOKEN:
            return SPOKEN[name](self.settings)
        for optimizer in OPTIMIZERS:
            name = name.removeprefix(optimizer)
        return self.settings[name.partition("_at_")[0].partition("_of_")[0]]
