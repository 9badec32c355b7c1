"""The settings shared by recipes that classify images into the classes they were trained on."""

from dataclasses import dataclass
from typing import Literal

from trainables.recipes.checks import above_zero, at_least_zero, require
from trainables.recipes.recipe import Recipe, refuse_single_work


@dataclass(frozen=True, kw_only=True)
class ClassifierRecipe(Recipe):
    """A recipe for classification. In data of works, each work is a class."""

    batch_size: int = 64  # images
    teacher: str | None = None  # a checkpoint trained on the same classes, to distill; None: no teacher
    distillation_weight: float = 1.0  # of the distillation loss
    distillation_temperature: float = 4.0  # of both networks' logits, Hinton's T
    batch_sampler: Literal["full", "papers", "shuffle", "balanced", "cross_role"] = "shuffle"

    def __post_init__(self) -> None:
        super().__post_init__()
        above_zero(self, "batch_size", "distillation_temperature")
        at_least_zero(self, "distillation_weight")
        require(
            self,
            "batch_sampler",
            self.batch_sampler in ("shuffle", "balanced"),
            "shuffle or balanced for a classifier",
        )

    def batch_shape(self, num_works: int) -> tuple[int, int]:
        """Return the batch size and 1, because a batch may consist of any images."""
        refuse_single_work(num_works)
        return self.batch_size, 1
