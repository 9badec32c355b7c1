"""The settings shared by all recipes, by those whose features are ranked and by classifiers, and their checks."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from shards_tools.errors import Error
from trainables.losses.registry import ID_LOSSES, METRIC_LOSSES
from trainables.recipes.backbones import OwnNetwork, get_backbone
from trainables.recipes.checks import above_zero, at_least_zero, check_choices, require
from trainables.recipes.images import ImageSettings, check_images
from trainables.recipes.optimization import OptimizerSettings, check_optimization

# these identify a recipe; the other fields are its settings
IDENTITY_FIELDS = ("name", "system", "table", "row", "preset", "scale")


@dataclass(frozen=True, kw_only=True)
class Recipe(ImageSettings, OptimizerSettings):
    """A full training configuration: the fields that every family shares."""

    WORDS: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # key -> words that it accepts besides values of its type

    name: str
    system: str  # the family: which model and which losses
    table: str | None = None  # the paper's table that prints this row; None: no paper prints it
    row: str | None = None
    preset: Literal["paper", "code", "upstream"] | None = None  # the source it follows; None: this project's
    scale: Literal["paper", "tiny"]

    backbone: str
    pretrained: bool  # start from pretrained weights, by default the backbone's
    weights_file: str | None = None  # weights or a checkpoint to start from; None: timm's, from the Hugging Face hub
    frozen_backbone: bool = False  # train only the head

    # how batches are formed
    batch_sampler: Literal["full", "papers", "shuffle", "balanced", "cross_role"] = "full"
    images_per_epoch: int | None = None  # None: a full pass; else each epoch is the next part of a pass

    id_loss: str = "softmax"  # a name in trainables/losses/registry.py
    id_weight: float = 1.0
    id_margin: float = 0.5  # not of softmax; arcface: radians, cosface: a cosine, circle: the paper's m
    id_scale: float = 30.0
    sub_centers: int = 1  # per work, of which the nearest counts; not of softmax
    label_smoothing: float = 0.0

    # of products and convolutions in the backbone; on a CPU tf32 is fp32. Losses are always fp32
    precision: Literal["bf16", "fp16", "tf32", "fp32"] = "tf32"
    micro_batch: int | None = None  # images per pass through the backbone, to save memory; None: the batch
    activation_checkpointing: bool = False  # recompute activations in the backward pass to save memory
    channels_last: bool = False  # memory format of convolutions
    compiled: bool = False  # torch.compile of the backbone

    def __post_init__(self) -> None:
        check_choices(self)
        check_images(self)
        check_optimization(self)
        self._check_id_loss()
        if self.micro_batch is not None:
            above_zero(self, "micro_batch")
        if self.images_per_epoch is not None:
            rule = f"none, or at least one batch of {self.batch_size} images"
            require(self, "images_per_epoch", self.images_per_epoch >= self.batch_size, rule)
        rule = "none with pretrained=false, which starts from fresh weights. To load the file, set pretrained=true"
        require(self, "weights_file", self.pretrained or self.weights_file is None, rule)
        shape = get_backbone(self.backbone)
        has_weights = shape.pretrained_name is not None or isinstance(shape, OwnNetwork)
        if self.pretrained and not has_weights and self.weights_file is None:
            raise Error(
                f"{self.name}: backbone {self.backbone!r} has no pretrained weights. Set pretrained=false, or add"
                " weights_file=FILE."
            )

    def variant(self, name: str, **changes: Any) -> Self:
        """Return a recipe that no paper prints: this one under another name, with these fields changed."""
        return dataclasses.replace(self, **{"name": name, "table": None, "row": None, **changes})

    def completed(self, values: Mapping[str, object]) -> Mapping[str, object]:
        """Return the values to set and those that they imply; a family may derive some from its backbone."""
        return values

    @property
    def batch_size(self) -> int:
        """Images per batch."""
        raise NotImplementedError

    def batch_shape(self, num_works: int, num_images: int) -> tuple[int, int]:
        """Return works per batch and images per work for a training split of this size."""
        raise NotImplementedError

    def smaller_batch(self, num_works: int, num_images: int) -> str:
        """Return in one sentence how the training split changes the shape of batches, or ""."""
        raise NotImplementedError

    def _check_id_loss(self) -> None:
        cosine = ID_LOSSES.find(self.id_loss).cosine
        at_least_zero(self, "id_weight", "id_margin")
        above_zero(self, "id_scale", "sub_centers")
        require(self, "label_smoothing", 0 <= self.label_smoothing < 1, "a fraction below 1")
        if cosine:
            require(self, "label_smoothing", self.label_smoothing == 0, f"0 with id_loss={self.id_loss}")
        else:
            rule = f"1 with id_loss={self.id_loss}, which has no centers"
            require(self, "sub_centers", self.sub_centers == 1, rule)


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

    def batch_shape(self, num_works: int, num_images: int) -> tuple[int, int]:
        """Return P and K for a training split of this size.

        If it has fewer than P works, every batch takes all of them, and K is raised so that the batch keeps its size,
        rounded down to full groups. With `shuffle`, which repeats no image, a batch is no larger than the split.
        """
        _refuse_single_work(num_works)
        works, images = self.works_per_batch, self.images_per_work
        if num_works < works:
            works, images = num_works, self.batch_size // num_works
        if self.batch_sampler == "shuffle":
            images = min(images, num_images // works)
        return works, images

    def smaller_batch(self, num_works: int, num_images: int) -> str:
        """Return in one sentence how the training split changes the shape of batches, or ""."""
        works, images = self.batch_shape(num_works, num_images)
        if (works, images) == (self.works_per_batch, self.images_per_work):
            return ""
        return (
            f"Batches of {self.works_per_batch} works x {self.images_per_work} images become {works} x {images}: the"
            f" training split has {num_works} works and {num_images} images."
        )


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
        holds = self.batch_sampler in ("shuffle", "balanced")
        require(self, "batch_sampler", holds, "shuffle or balanced for a classifier")

    def batch_shape(self, num_works: int, num_images: int) -> tuple[int, int]:
        """Return the batch size, at most the images of the split, and 1: a batch may consist of any images."""
        _refuse_single_work(num_works)
        return min(self.batch_size, num_images), 1

    def smaller_batch(self, num_works: int, num_images: int) -> str:
        """Return in one sentence how the training split changes the size of batches, or ""."""
        if self.batch_size <= num_images:
            return ""
        return f"Batches of {self.batch_size} images become {num_images}: the training split has {num_images} images."


def _refuse_single_work(num_works: int) -> None:
    """Raise an Error if the data have fewer than two works."""
    if num_works < 2:
        raise Error(f"Training needs at least 2 works, but train has {num_works}. Build the shards with more works.")
