"""Time and memory of re-ranking on as many images as LSASRD's test split has.

Limits: 60 seconds and 2 GB, with two threads. Run: .venv/bin/python benchmarks/reranking.py
"""

import resource
import sys
import time

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from trainables.metrics.cross_role import metrics_of
from trainables.metrics.distances import Distances
from trainables.metrics.labels import read_labels
from trainables.metrics.rerank import RerankedDistances

NUM_QUERIES, NUM_GALLERY, WIDTH = 3350, 5025, 768
NUM_WORKS, NUM_ROLES = 100, 10
NUM_THREADS = 2
MAX_SECONDS, MAX_BYTES = 60.0, 2e9


def make_features(generator: np.random.Generator, num: int) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Return unit vectors around a center per work and one per role, with their works and roles."""
    works, roles = generator.integers(NUM_WORKS, size=num), generator.integers(NUM_ROLES, size=num)
    centers = np.random.default_rng(1).normal(size=(NUM_WORKS, WIDTH))
    shifts = np.random.default_rng(2).normal(size=(NUM_WORKS, NUM_ROLES, WIDTH))
    features = 0.5 * centers[works] + shifts[works, roles] + 2 * generator.normal(size=(num, WIDTH))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return torch.from_numpy(features.astype(np.float32)), works, roles


def main() -> None:
    """Print the time, the memory and both mAP, and exit with 1 if a limit is exceeded."""
    torch.set_num_threads(NUM_THREADS)
    generator = np.random.default_rng(0)
    query_QD, query_works, query_roles = make_features(generator, NUM_QUERIES)
    gallery_GD, gallery_works, gallery_roles = make_features(generator, NUM_GALLERY)
    labels = read_labels(query_works, gallery_works, query_roles, gallery_roles)
    with threadpool_limits(NUM_THREADS):
        plain = metrics_of(Distances(query_QD, gallery_GD), labels).mAP
        started = time.perf_counter()
        reranked = metrics_of(RerankedDistances(query_QD, gallery_GD), labels).mAP
        seconds = time.perf_counter() - started
    unit = 1 if sys.platform == "darwin" else 1024  # kilobytes on Linux, bytes on macOS
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    print(f"{NUM_QUERIES} queries, {NUM_GALLERY} gallery images, {WIDTH} dimensions, {NUM_THREADS} threads")
    print(f"re-ranked in {seconds:.1f} s (limit {MAX_SECONDS:.0f} s); mAP {plain:.3f} -> {reranked:.3f}")
    print(f"memory of the process: {peak / 1e9:.2f} GB (limit {MAX_BYTES / 1e9:.0f} GB)")
    sys.exit(0 if seconds <= MAX_SECONDS and peak <= MAX_BYTES else 1)


if __name__ == "__main__":
    main()
