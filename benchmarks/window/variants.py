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
        times: steps per round; None: enough for a step of about 50 ms.
    """

    recipe: str
    label: str
    settings: Mapping[str, object] = field(default_factory=dict)
    feed: Literal["resident", "host", "loader"] = "resident"
    tf32: bool = False
    times: int | None = None


STEPS = (
    Variant(recipe=VIT, label="batch resident"),
    Variant(recipe=VIT, label="without erasing", settings={"erase_probability": 0.0}),
    Variant(recipe=VIT, label="fed from the host", feed="host"),
    Variant(recipe=VIT, label="fed by the loader", feed="loader"),
    Variant(recipe=VIT, label="fp32", settings={"precision": "fp32"}, times=3),
    Variant(recipe=VIT, label="tf32", settings={"precision": "tf32"}, tf32=True, times=5),
    Variant(recipe=VIT, label="activation checkpointing", settings={"activation_checkpointing": True}, times=6),
    Variant(recipe=VIT, label="micro_batch 16", settings={"micro_batch": 16}, times=4),
    Variant(recipe=CNN, label="batch resident"),
    Variant(recipe=CNN, label="without erasing", settings={"erase_probability": 0.0}),
    Variant(recipe=CNN, label="fed by the loader", feed="loader"),
    Variant(recipe=CNN, label="contiguous instead of channels_last", settings={"channels_last": False}),
    Variant(recipe="transreid-vit-small", label="batch resident"),
    Variant(recipe="dafre-224-b32", label="batch 1024, tf32", tf32=True, times=3),
    Variant(recipe="dafre-224-b32", label="batch 1024, bf16", settings={"precision": "bf16"}, times=3),
)  # fmt: skip
COMPILED = (
    Variant(recipe=VIT, label="compiled, batch resident", settings={"compiled": True}),
    Variant(recipe=VIT, label="compiled, fed by the loader", settings={"compiled": True}, feed="loader"),
    Variant(recipe=CNN, label="compiled, batch resident", settings={"compiled": True}),
    Variant(
        recipe="transreid-vit-base", label="compiled and activation checkpointing",
        settings={"compiled": True, "activation_checkpointing": True}, times=3,
    ),
)  # fmt: skip
