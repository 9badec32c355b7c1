"""The settings shared by all recipes, and their checks."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from shards_tools.errors import Error
from trainables.losses.registry import ID_LOSSES
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

    precision: Literal["bf16", "float32"] = "float32"  # of the backbone; losses are always float32
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
        rule = "none with pretrained=false, which starts from fresh weights"
        require(self, "weights_file", self.pretrained or self.weights_file is None, rule)
        shape = get_backbone(self.backbone)
        has_weights = shape.pretrained_name is not None or isinstance(shape, OwnNetwork)
        if self.pretrained and not has_weights and self.weights_file is None:
            raise Error(f"{self.name}: backbone {self.backbone!r} has no pretrained weights. Set pretrained=false.")

    def completed(self, values: Mapping[str, object]) -> Mapping[str, object]:
        """Return the values to set and those that they imply; a family may derive some from its backbone."""
        return values

    def variant(self, preset: str, **changes: Any) -> Self:
        """Return this row as another source trains it, as NAME-PRESET; no paper prints it."""
        identity: dict[str, Any] = {"name": f"{self.name}-{preset}", "table": None, "row": None, "preset": preset}
        return dataclasses.replace(self, **identity, **changes)

    @property
    def batch_size(self) -> int:
        """Images per batch."""
        raise NotImplementedError

    def batch_shape(self, num_works: int) -> tuple[int, int]:
        """Return works per batch and images per work for a training split with `num_works` works.

        Raises:
            Error: there are fewer than two works.
        """
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


def refuse_single_work(num_works: int) -> None:
    """Raise an Error if the data have fewer than two works."""
    if num_works < 2:
        raise Error(f"Training needs at least 2 works, but train has {num_works}. Build the shards with more works.")
