"""What recipes share that tell classes apart which they were trained on: batches of any images."""

from dataclasses import dataclass
from typing import Literal

from trainables.recipes.checks import above_zero, at_least_zero, require
from trainables.recipes.recipe import Recipe, refuse_single_work


@dataclass(frozen=True, kw_only=True)
class ClassifierRecipe(Recipe):
    """Classification: which of the classes is it? In data of works a work is a class."""

    batch_size: int = 64  # images
    teacher: str | None = None  # a checkpoint of the same classes to learn from beside the labels; None: no teacher
    distillation_weight: float = 1.0  # of being like the teacher
    distillation_temperature: float = 4.0  # that softens both, Hinton's T
    batch_sampler: Literal["full", "papers", "shuffle", "balanced", "cross_role"] = "shuffle"

    def __post_init__(self) -> None:
        super().__post_init__()
        above_zero(self, "batch_size", "distillation_temperature")
        at_least_zero(self, "distillation_weight")
        require(
            self,
            "batch_sampler",
            self.batch_sampler in ("shuffle", "balanced"),
            "shuffle or balanced, because a class is no work",
        )

    def batch_shape(self, num_works: int) -> tuple[int, int]:
        """Any images: the whole batch, and 1."""
        refuse_single_work(num_works)
        return self.batch_size, 1
