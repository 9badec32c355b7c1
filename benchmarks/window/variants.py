"""The variants of the training step that the window compares."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

VIT, CNN = "transreid-vit-stride", "agw-resnet50-nl"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to run the training step of a recipe.

    Args:
        feed: where batches come from: one that stays on the device, one that is copied from the host each time, or the
            project's loader.
        prefetch: copy batches ahead from pinned memory; needs the loader as feed.
        times: steps per round; None: enough for a step of about 50 ms.
    """

    recipe: str
    label: str
    settings: Mapping[str, object] = field(default_factory=dict)
    feed: Literal["resident", "host", "loader"] = "resident"
    prefetch: bool = False
    deferred: bool = False
    batch_erasing: bool = False
    tf32: bool = False
    times: int | None = None


STEPS = (
    Variant(recipe=VIT, label="ours as it is, batch resident"),
    Variant(recipe=VIT, label="without erasing", settings={"erase_probability": 0.0}),
    Variant(recipe=VIT, label="fed from the host: batch.to(device)", feed="host"),
    Variant(recipe=VIT, label="fed by the product's loader", feed="loader"),
    Variant(recipe=VIT, label="loss looked at one step later", deferred=True),
    Variant(recipe=VIT, label="that, loader pinned and prefetched", deferred=True, feed="loader", prefetch=True),
    Variant(
        recipe=VIT, label="that, and erasing of whole batches",
        deferred=True, feed="loader", prefetch=True, batch_erasing=True,
    ),
    Variant(recipe=VIT, label="float32, no TF32 (as it is)", settings={"precision": "float32"}, times=3),
    Variant(recipe=VIT, label="float32, TF32", settings={"precision": "float32"}, tf32=True, times=5),
    Variant(recipe=VIT, label="activation checkpointing", settings={"activation_checkpointing": True}, times=6),
    Variant(recipe=VIT, label="micro_batch 16", settings={"micro_batch": 16}, times=4),
    Variant(recipe=CNN, label="ours as it is, batch resident"),
    Variant(recipe=CNN, label="without erasing", settings={"erase_probability": 0.0}),
    Variant(recipe=CNN, label="fed by the product's loader", feed="loader"),
    Variant(recipe=CNN, label="one step later, loader prefetched", deferred=True, feed="loader", prefetch=True),
    Variant(recipe=CNN, label="contiguous instead of channels_last", settings={"channels_last": False}),
    Variant(recipe="transreid-vit-small", label="ours as it is, batch resident"),
    Variant(recipe="dafre-224-b32", label="batch 1024, float32 (as it is)", times=3),
    Variant(recipe="dafre-224-b32", label="batch 1024, bf16", settings={"precision": "bf16"}, times=3),
)  # fmt: skip
COMPILED = (
    Variant(recipe=VIT, label="compiled, as it is", settings={"compiled": True}),
    Variant(
        recipe=VIT, label="compiled, deferred, prefetched, batch erasing", settings={"compiled": True},
        deferred=True, feed="loader", prefetch=True, batch_erasing=True,
    ),
    Variant(recipe=CNN, label="compiled, as it is", settings={"compiled": True}),
    Variant(
        recipe="transreid-vit-base", label="compiled and activation checkpointing",
        settings={"compiled": True, "activation_checkpointing": True}, times=3,
    ),
)  # fmt: skip
