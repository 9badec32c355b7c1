"""Summarize a folder of shards: images per work and per role, and image sizes, as numbers and as text."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from shards_tools.manifest import Manifest

MAX_BINS = 8
BAR_WIDTH = 40  # characters in the longest bar
KINDS = {"classes": ("class", "classes"), "identities": ("identity", "identities")}  # layout -> word for a work


def count_overview(manifest: Manifest) -> dict[str, dict[str, Any]]:
    """Return min, median, mean and max of images per work and per role, with histograms, and of height and width."""
    per_work = np.bincount(manifest.work, minlength=len(manifest.works))
    per_role = np.bincount(manifest.role, minlength=len(manifest.roles))
    return {
        "images_per_work": _summary(per_work) | {"histogram": _histogram(per_work)},
        "images_per_role": _summary(per_role) | {"histogram": _histogram(per_role)},
        "height_px": _summary(manifest.height),
        "width_px": _summary(manifest.width),
    }


def describe_contents(manifest: Manifest) -> str:
    """Describe the numbers of images, roles and works (or classes, or identities), and of tags and pairs if any."""
    if manifest.layout in KINDS:
        text = f"{manifest.num_images:,} images, {len(manifest.works):,} {KINDS[manifest.layout][1]}"
    else:
        text = f"{manifest.num_images:,} images, {len(manifest.roles):,} roles, {len(manifest.works):,} works"
    if manifest.tags is not None:
        text += f", {len(manifest.tags.names):,} tags"
    return text + (f", {len(manifest.pairs):,} test pairs" if len(manifest.pairs) else "")


def describe_overview(overview: dict[str, dict[str, Any]], layout: str = "plain") -> Iterator[str]:
    """Yield the overview as text lines; a histogram bar is proportional to its number of works, roles or classes."""
    for name, numbers in overview.items():
        if layout in KINDS:
            if name == "images_per_role":
                continue
            name = name.replace("work", KINDS[layout][0])
        measured = "min {min:,}, median {median:,g}, mean {mean:,.1f}, max {max:,}".format(**numbers)
        yield f"{name.replace('_px', ' in px').replace('_', ' ')}: {measured}"
        bins = numbers.get("histogram", [])
        most = max((entry["count"] for entry in bins), default=0)
        for entry in bins:
            bar = "#" * -(-entry["count"] * BAR_WIDTH // most)  # rounded up, so that 1 is visible
            yield f"  {entry['from']:>7,} - {entry['to']:>7,} {entry['count']:>7,} {bar}".rstrip()


def _summary(values: np.ndarray) -> dict[str, float]:
    return {
        "min": int(values.min()),
        "median": float(np.median(values)),
        "mean": float(values.mean()),
        "max": int(values.max()),
    }


def _histogram(values: np.ndarray) -> list[dict[str, int]]:
    """Return at most 8 adjacent bins of equal width; `from` and `to` are inclusive."""
    least, most = int(values.min()), int(values.max())
    width = -(-(most - least + 1) // MAX_BINS)
    counts = np.bincount((values - least) // width).tolist()
    return [
        {"from": first, "to": min(first + width - 1, most), "count": count}
        for first, count in zip(range(least, most + 1, width), counts, strict=True)
    ]
