"""What recipes share that tell classes apart which they were trained on: batches of any images."""

from dataclasses import dataclass
from typing import Literal

from trainables.recipes.checks import above_zero, one_of
from trainables.recipes.recipe import Recipe, refuse_single_work


@dataclass(frozen=True, kw_only=True)
class ClassifierRecipe(Recipe):
    """Classification: which of the classes is it? In data of works a work is a class."""

    batch_size: int = 64  # images
    plan: Literal["full", "papers", "shuffle", "balanced", "cross_role"] = "shuffle"

    def __post_init__(self) -> None:
        super().__post_init__()
        above_zero(self, "batch_size")
        one_of(self, "plan", "shuffle", "balanced")

    def batch_shape(self, num_works: int) -> tuple[int, int]:
        """Any images: the whole batch, and 1."""
        refuse_single_work(num_works)
        return self.batch_size, 1
