"""Projections from steps that are made up."""

from typing import Any

from platform.preflight.estimate import Projection
from platform.resolved_search import ResolvedSearch
from trainables.profiling.measure_step import OneStep

GB = 10**9


def projection_of(search: ResolvedSearch, **measured: Any) -> Projection:
    """A projection from a step that was measured as told, on a machine with 16 GB of memory."""
    usual = {"batch_images": 16, "epoch_images": 512, "step_s": 0.1, "evaluate_images": 24, "val_images": 48}
    step = OneStep(**{**usual, "evaluate_s": 0.1, "peak_bytes": GB, "checkpoint_bytes": 10**6, **measured})
    return Projection(
        search=search, num_finished=0, num_running=0, largest=step, usual=step, pixel_bytes=0, memory_free_bytes=16 * GB
    )
