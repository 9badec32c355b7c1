"""What every recipe says, and how its values are checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from shards_tools.errors import Error
from trainables.losses.registry import ID_LOSSES
from trainables.recipes.backbones import OwnNetwork, get_backbone
from trainables.recipes.checks import above_zero, at_least_zero, check_choices, require
from trainables.recipes.images import ImageSettings, check_images
from trainables.recipes.optimization import OptimizerSettings, check_optimization

# what a recipe is; the other fields are what it sets
IDENTITY_FIELDS = ("name", "system", "table", "row", "preset", "scale")


@dataclass(frozen=True, kw_only=True)
class Recipe(ImageSettings, OptimizerSettings):
    """A full training configuration: the fields that every family shares."""

    WORDS: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # key -> words that stand for a value of another type

    name: str
    system: str  # the family: which model and which losses
    table: str | None = None  # the paper's table that prints this row's numbers; None: no paper prints it
    row: str | None = None
    preset: Literal["paper", "code", "upstream"] | None = None  # whose word counts where they differ; None: ours
    scale: Literal["paper", "tiny"]

    backbone: str
    pretrained: bool  # start from the weights that the backbone names
    weights_file: str | None = None  # weights or a checkpoint to start from; None: those from the Hugging Face hub
    frozen_backbone: bool = False  # only the head is trained

    # which images form which batch
    batch_sampler: Literal["full", "papers", "shuffle", "balanced", "cross_role"] = "full"
    images_per_epoch: int | None = None  # None: a whole pass; else short epochs that cover it in turn

    id_loss: str = "softmax"  # which work is it? A name in trainables/losses/registry.py
    id_weight: float = 1.0
    id_margin: float = 0.5  # of all but softmax: radians of arcface, cosine of cosface, the paper's m of circle
    id_scale: float = 30.0
    sub_centers: int = 1  # of each work, of which the nearest counts; of all but softmax
    label_smoothing: float = 0.0

    precision: Literal["bf16", "float32"] = "float32"  # of the backbone; losses are float32 always
    micro_batch: int | None = None  # images that go through the backbone at a time, in less memory; None: the batch
    activation_checkpointing: bool = False  # recompute activations in the backward pass to save memory
    channels_last: bool = False  # memory order of images in convolutions
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
        rule = "none where pretrained=false, which starts from fresh weights"
        require(self, "weights_file", self.pretrained or self.weights_file is None, rule)
        shape = get_backbone(self.backbone)
        has_weights = shape.pretrained_name is not None or isinstance(shape, OwnNetwork)
        if self.pretrained and not has_weights and self.weights_file is None:
            raise Error(f"{self.name}: backbone {self.backbone!r} has no pretrained weights. Set pretrained=false.")

    def completed(self, values: Mapping[str, object]) -> Mapping[str, object]:
        """Return the values to set together with those that they imply, which a family may take from its backbone."""
        return values

    @property
    def batch_size(self) -> int:
        """Images per batch."""
        raise NotImplementedError

    def batch_shape(self, num_works: int) -> tuple[int, int]:
        """Works per batch and images per work where there are so many works to train on."""
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
    """Refuse data with nothing to tell apart."""
    if num_works < 2:
        raise Error(f"{num_works} work to train on gives no negatives. Build shards with at least 2 works in train.")
