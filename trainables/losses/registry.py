"""The losses that recipes can name. This module needs no torch: a loss is imported when it is first built."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shards_tools.registry import Registry
from trainables.factories import check_factory

Factory = Callable[..., Any] | str  # "module:function" is imported on first use
ARGUMENTS = ("recipe", "num_classes", "feature_dim")  # that a factory may take


@dataclass(frozen=True)
class MetricLoss:
    """A loss over embeddings: `factory` returns a function (features B x D, labels B) -> scalar."""

    factory: Factory
    needs_positives: bool = False  # whether every image needs another image of its work in the batch


@dataclass(frozen=True)
class IdLoss:
    """A loss over class logits: `factory` returns a function (logits B x N, labels B) -> scalar."""

    factory: Factory
    cosine: bool = False  # whether it takes cosines between features and class centers instead of logits


METRIC_LOSSES: Registry[MetricLoss] = Registry(
    "metric_loss",
    {
        "soft_triplet": MetricLoss("trainables.losses.metric:soft_triplet", needs_positives=True),
        "triplet": MetricLoss("trainables.losses.metric:triplet", needs_positives=True),
        # in AGW's triplet, an image is its own positive
        "wrt": MetricLoss("trainables.losses.metric:wrt"),
        "wrt_agw": MetricLoss("trainables.losses.metric:wrt_agw"),
        "circle": MetricLoss("trainables.losses.metric:circle", needs_positives=True),
        "supcon": MetricLoss("trainables.losses.metric:supcon", needs_positives=True),
    },
)
ID_LOSSES: Registry[IdLoss] = Registry(
    "id_loss",
    {
        "softmax": IdLoss("trainables.losses.identity:softmax"),
        "arcface": IdLoss("trainables.losses.identity:arcface", cosine=True),
        "cosface": IdLoss("trainables.losses.identity:cosface", cosine=True),
        "circle": IdLoss("trainables.losses.identity:circle", cosine=True),
    },
)


def register_metric_loss(name: str, factory: Callable[..., Any]) -> None:
    """Make a loss over embeddings available as `metric_loss=NAME`.

    Args:
        factory: `factory(recipe)` or `factory(recipe, num_classes, feature_dim)`, distinguished by the names of its
            parameters. It returns a callable or an `nn.Module` that maps features (B x D, float32) and labels (B) to a
            scalar. The weights of a module are trained with the model and saved in the checkpoint. A model with
            several branches gets one module per branch.

    Raises:
        Error: the name is taken by a different loss, or the factory has other parameters.
    """
    check_factory("metric_loss", name, factory, ARGUMENTS)
    METRIC_LOSSES.register(name, MetricLoss(factory))


def register_id_loss(name: str, factory: Callable[..., Any], *, cosine: bool = False) -> None:
    """Make a loss over the class logits available as `id_loss=NAME`.

    Args:
        factory: as for `register_metric_loss`, but the loss takes logits (B x num_classes, float32) and labels (B).
        cosine: whether the classifier returns cosines between features and class centers instead of logits, as ArcFace
            needs.

    Raises:
        Error: the name is taken by a different loss, or the factory has other parameters.
    """
    check_factory("id_loss", name, factory, ARGUMENTS)
    ID_LOSSES.register(name, IdLoss(factory, cosine))
