"""Ranking in chunks with many ties, against a loop over stable sorts, on a CPU and on a GPU."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from trainables.metrics import ranking
from trainables.metrics.cross_role import cross_role_metrics
from trainables.metrics.distances import Distances
from trainables.metrics.labels import read_labels
from trainables.metrics.ranking import positive_ranks

NAMES = ("query_works", "gallery_works", "query_roles", "gallery_roles")


def on_a_grid(num_queries: int, num_gallery: int, side: int) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Return features on few places, so that most distances are tied and none is rounded, and labels."""
    draw = np.random.default_rng(4)
    query, gallery = (draw.integers(0, side, (count, 3)).astype(np.float32) for count in (num_queries, num_gallery))
    works = draw.integers(0, 5, num_queries), draw.integers(0, 5, num_gallery)
    roles = draw.integers(0, 4, num_queries), draw.integers(0, 4, num_gallery)
    return query, gallery, dict(zip(NAMES, (*works, *roles), strict=True))


def slow_ranks(query: np.ndarray, gallery: np.ndarray, labels: dict[str, Any], asked: int) -> list[int]:
    """Return the ranks of one query's positives: a stable sort of what is not junk."""
    works, roles = labels["gallery_works"], labels["gallery_roles"]
    is_own = works == labels["query_works"][asked]
    kept = np.flatnonzero(~(is_own & (roles == labels["query_roles"][asked])))
    squared = ((query[asked] - gallery[kept]) ** 2).sum(axis=1)
    ranked = kept[np.argsort(squared, kind="stable")]
    return (1 + np.flatnonzero(is_own[ranked])).tolist()


@pytest.mark.parametrize("side", [1, 2, 6])
def test_ranks_of_tied_images_are_those_of_a_stable_sort(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "CHUNK_QUERIES", 16)
    query, gallery, labels = on_a_grid(70, 50, side)
    codes = read_labels(*(labels[name] for name in NAMES))
    order = np.argsort(codes.query_works_Q, kind="stable")
    expected = [ranks for asked in order if (ranks := slow_ranks(query, gallery, labels, asked))]
    found = []
    for ranks_BS, num_positives_B in positive_ranks(Distances(query, gallery), codes):
        found += [ranks[:num].tolist() for ranks, num in zip(ranks_BS, num_positives_B, strict=True)]
    assert found == expected


def test_arrays_and_tensors_give_the_same_metrics() -> None:
    query, gallery, labels = on_a_grid(30, 40, 3)
    expected = cross_role_metrics(query, gallery, **labels)
    assert cross_role_metrics(torch.from_numpy(query), gallery, **labels) == expected
    assert cross_role_metrics(query.astype(np.int16), torch.from_numpy(gallery), **labels) == expected
    gallery.flags.writeable = False
    assert cross_role_metrics(query[:, ::-1], gallery[:, ::-1], **labels) == expected


class LargestTensor(TorchDispatchMode):
    """Records the most elements of a tensor that an operation returns."""

    num_elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else [result]:
            if isinstance(value, torch.Tensor):
                self.num_elements = max(self.num_elements, value.numel())
        return result


def test_memory_stays_far_below_a_full_matrix_of_distances() -> None:
    generator = np.random.default_rng(3)
    num_queries, num_gallery = 4000, 2000
    query, gallery = (generator.integers(0, 2, size=(count, 8)) for count in (num_queries, num_gallery))  # with ties
    works, roles = generator.integers(0, 20, (2, num_queries + num_gallery))
    small_query, small_gallery, small_labels = on_a_grid(5, 5, 2)
    with LargestTensor():  # imports what torch needs for the mode
        cross_role_metrics(small_query, small_gallery, **small_labels)
    tracemalloc.start()
    with LargestTensor() as largest:
        cross_role_metrics(
            query.astype(np.float32),
            gallery.astype(np.float32),
            query_works=works[:num_queries],
            gallery_works=works[num_queries:],
            query_roles=roles[:num_queries],
            gallery_roles=roles[num_queries:],
        )
    peak_bytes = tracemalloc.get_traced_memory()[1]  # of numpy
    tracemalloc.stop()
    assert largest.num_elements < num_queries * num_gallery / 8
    assert peak_bytes < num_queries * num_gallery * 4 / 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("side", [1, 2, 6, 1000])
def test_a_gpu_gives_the_metrics_of_the_cpu(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    query, gallery, labels = on_a_grid(700, 500, side)
    expected = cross_role_metrics(query, gallery, **labels)
    on_gpu = [torch.from_numpy(features).cuda() for features in (query, gallery)]
    assert cross_role_metrics(*on_gpu, **labels) == expected
    monkeypatch.setattr(ranking, "GPU_DISTANCES", 1)  # the chunks of the CPU
    assert cross_role_metrics(*on_gpu, **labels) == expected
