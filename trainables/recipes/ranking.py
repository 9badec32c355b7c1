"""The settings shared by recipes whose features are ranked: batches of P works x K images, and a metric loss."""

from dataclasses import dataclass
from typing import Literal

from shards_tools.errors import Error
from trainables.losses.registry import METRIC_LOSSES
from trainables.recipes.checks import above_zero, at_least_zero, require
from trainables.recipes.recipe import Recipe, refuse_single_work


@dataclass(frozen=True, kw_only=True)
class RankingRecipe(Recipe):
    """A recipe for re-identification: classify the work of an image, and rank images by their features."""

    works_per_batch: int = 16  # P
    images_per_work: int = 4  # K

    metric_loss: str = "soft_triplet"  # a name in trainables/losses/registry.py
    metric_weight: float = 1.0  # 0 is off
    metric_margin: float = 0.3  # of triplet (a distance) and circle
    metric_scale: float = 64.0  # of circle: the paper's gamma
    temperature: float = 0.1  # of supcon
    center_weight: float = 0.0  # of the center loss; 0 is off
    neck_feature: Literal["before", "after"] = "before"  # the test feature, relative to the neck's batch norm

    def __post_init__(self) -> None:
        super().__post_init__()
        above_zero(self, "works_per_batch", "images_per_work", "metric_scale", "temperature")
        at_least_zero(self, "metric_weight", "metric_margin", "center_weight")
        needs_positives = METRIC_LOSSES.find(self.metric_loss).needs_positives
        require(self, "images_per_work", self.images_per_work >= 2, "at least 2, otherwise no image has a positive")
        require(self, "works_per_batch", self.works_per_batch >= 2, "at least 2, otherwise no image has a negative")
        if self.metric_weight > 0 and self.batch_sampler in ("shuffle", "balanced") and needs_positives:
            raise Error(
                f"{self.name}: batch_sampler={self.batch_sampler!r} may form batches in which an image has no"
                f" positive, and metric_loss={self.metric_loss} needs one. Set batch_sampler=full, or metric_weight=0."
            )

    @property
    def batch_size(self) -> int:
        """Images per batch, P x K."""
        return self.works_per_batch * self.images_per_work

    def batch_shape(self, num_works: int) -> tuple[int, int]:
        """Return P and K for a training split with `num_works` works.

        If it has fewer than P works, every batch takes all of them, and K is raised so that the batch keeps its size,
        rounded down to full groups.
        """
        refuse_single_work(num_works)
        if num_works >= self.works_per_batch:
            return self.works_per_batch, self.images_per_work
        return num_works, self.batch_size // num_works
