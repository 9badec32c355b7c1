"""Benchmark of cross-role evaluation, compared with its matrix product and with the evaluator of the papers' code.

One thread, interleaved rounds in one run, ratios of CPU seconds; and the memory of an evaluation besides its features.
The limit is a multiple of torch's product. Run: python benchmarks/evaluator.py. Exits with 1 if a limit is exceeded.
"""

import contextlib
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import torch
from threadpoolctl import threadpool_limits

from trainables.metrics import cross_role_metrics

# The size of LSASRD's test split, and ViT-Base's features.
NUM_QUERIES, NUM_GALLERY, WIDTH, NUM_WORKS = 3350, 5025, 768, 76
NUM_ROUNDS = 7
MAX_RATIO = 1.5
MAX_BYTES = 1e9

Features = npt.NDArray[np.float32]
Labels = dict[str, Any]


def make_features() -> tuple[Features, Features, Labels]:
    """Return normalized features around one center per work, so that the ranking is informative."""
    generator = np.random.default_rng(0)
    labels = {
        "query_works": generator.integers(0, NUM_WORKS, NUM_QUERIES),
        "gallery_works": generator.integers(0, NUM_WORKS, NUM_GALLERY),
        "query_roles": generator.integers(0, 12, NUM_QUERIES),
        "gallery_roles": generator.integers(6, 18, NUM_GALLERY),
    }
    centers = 0.3 * generator.normal(size=(NUM_WORKS, WIDTH))

    def around(works: npt.NDArray[np.int64]) -> Features:
        features = centers[works] + generator.normal(size=(len(works), WIDTH))
        normalized: Features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
        return normalized

    return around(labels["query_works"]), around(labels["gallery_works"]), labels


def matrix_product(query_QD: Features, gallery_GD: Features) -> None:
    """Multiply queries by the gallery, 256 queries at a time."""
    for start in range(0, len(query_QD), 256):
        query_QD[start : start + 256] @ gallery_GD.T


def matrix_product_torch(query_QD: Features, gallery_GD: Features) -> None:
    """Do the same with torch."""
    query, gallery = torch.from_numpy(query_QD), torch.from_numpy(gallery_GD)
    for start in range(0, len(query), 256):
        query[start : start + 256] @ gallery.T


def papers_evaluator(query_QD: Features, gallery_GD: Features, labels: Labels) -> tuple[float, float, float]:
    """Return mAP, mINP and rank-1 as in TransReID's and AGW's code: argsort everything, then loop over queries."""
    distances_QG = (query_QD**2).sum(1)[:, None] + (gallery_GD**2).sum(1) - 2 * query_QD @ gallery_GD.T
    indices_QG = np.argsort(distances_QG, axis=1)
    matches_QG = labels["gallery_works"][indices_QG] == labels["query_works"][:, None]
    roles_QG = labels["gallery_roles"][indices_QG]
    scores = []
    for matches, roles, role in zip(matches_QG, roles_QG, labels["query_roles"], strict=True):
        kept = matches[~(matches & (roles == role))]
        if kept.any():
            found = kept.cumsum()
            precision = found / np.arange(1, len(kept) + 1)
            scores.append((precision[kept].mean(), precision[np.flatnonzero(kept)[-1]], kept[0]))
    mean_ap, mean_inp, first = np.mean(scores, axis=0)
    return float(mean_ap), float(mean_inp), float(first)


def seconds(run: Callable[[], Any]) -> float:
    """Return the CPU seconds of one call: other programs change them less than the time by the clock."""
    start = time.thread_time()
    run()
    return time.thread_time() - start


def measure_bytes(run: Callable[[], Any]) -> int:
    """Return how far the process's memory grows in a call, at its peak."""
    unit = 1 if sys.platform == "darwin" else 1024  # kilobytes on Linux, bytes on macOS
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # start a new peak
    before: int = psutil.Process().memory_info().rss
    run()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before


def say_ratio(rounds: list[dict[str, float]], name: str, measure: str) -> float:
    """Print and return the median over the rounds of one time as a multiple of another."""
    ratios = [times[name] / times[measure] for times in rounds]
    median = statistics.median(ratios)
    print(f"{name:15} {median:5.2f} x {measure} ({min(ratios):.2f} to {max(ratios):.2f})")
    return median


def cpu_name() -> str:
    """Return the processor's name and the widest vector instructions that torch uses on it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else 'an unknown CPU'}, {torch.backends.cpu.get_cpu_capability()}"


def main() -> None:
    """Print the ratios and the memory, and exit with 1 if a limit is exceeded."""
    torch.set_num_threads(1)
    query_QD, gallery_GD, labels = make_features()
    runs: dict[str, Callable[[], Any]] = {
        "numpy's product": lambda: matrix_product(query_QD, gallery_GD),
        "torch's product": lambda: matrix_product_torch(query_QD, gallery_GD),
        "ours": lambda: cross_role_metrics(query_QD, gallery_GD, **labels),
        "papers": lambda: papers_evaluator(query_QD, gallery_GD, labels),
    }
    with threadpool_limits(1):
        taken = measure_bytes(runs["ours"])
        rounds = [{name: seconds(run) for name, run in runs.items()} for _ in range(NUM_ROUNDS)]
    found = cross_role_metrics(query_QD, gallery_GD, **labels)
    expected = papers_evaluator(query_QD, gallery_GD, labels)
    agree = bool(np.allclose((found.mAP, found.mINP, found.cmc[1]), expected, atol=1e-5))

    print(f"{NUM_QUERIES} queries, {NUM_GALLERY} gallery images, {WIDTH} dimensions, one thread, {NUM_ROUNDS} rounds")
    print(f"on {cpu_name()}")
    ratio = say_ratio(rounds, "ours", "torch's product")
    say_ratio(rounds, "numpy's product", "torch's product")
    say_ratio(rounds, "papers", "torch's product")
    say_ratio(rounds, "papers", "ours")
    print(f"memory above the features: {taken / 1e6:.0f} MB (limit {MAX_BYTES / 1e6:.0f} MB)")
    print(f"same numbers as the papers' code to 1e-5: {'yes' if agree else 'NO'}")
    sys.exit(0 if ratio <= MAX_RATIO and taken <= MAX_BYTES and agree else 1)


if __name__ == "__main__":
    main()
