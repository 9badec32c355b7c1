"""Cross-role metrics against hand-made answers, and against plain loops over the definitions in exact fractions."""

import math
from collections.abc import Hashable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shards_tools.errors import Error
from trainables.metrics import CrossRoleMetrics, cross_role_metrics

RANKS = (1, 2, 3, 5, 20)


class SlowMetrics(NamedTuple):
    """The means over queries with a positive; None without such a query."""

    mAP: float | None
    mINP: float | None
    cmc: dict[int, float | None]
    num_valid_queries: int


def slow_cross_role_metrics(
    query_features: Sequence[Sequence[float]],
    gallery_features: Sequence[Sequence[float]],
    query_works: Sequence[Hashable],
    gallery_works: Sequence[Hashable],
    query_roles: Sequence[Hashable],
    gallery_roles: Sequence[Hashable],
    ranks: Sequence[int],
) -> SlowMetrics:
    """The metrics, query by query: sort what is not junk, walk down the list."""
    precisions, penalties, firsts = [], [], []
    for features, work, role in zip(query_features, query_works, query_roles, strict=True):
        hits = [
            gallery_works[index] == work
            for index in _ranking(features, gallery_features)
            if (gallery_works[index], gallery_roles[index]) != (work, role)
        ]
        places = [place for place, hit in enumerate(hits, start=1) if hit]
        if not places:
            continue
        precisions.append(sum(Fraction(found, place) for found, place in enumerate(places, start=1)) / len(places))
        penalties.append(Fraction(len(places), places[-1]))
        firsts.append(places[0])
    if not firsts:
        return SlowMetrics(None, None, dict.fromkeys(ranks), 0)
    cmc: dict[int, float | None] = {rank: sum(first <= rank for first in firsts) / len(firsts) for rank in ranks}
    return SlowMetrics(float(sum(precisions) / len(firsts)), float(sum(penalties) / len(firsts)), cmc, len(firsts))


def _ranking(features: Sequence[float], gallery_features: Sequence[Sequence[float]]) -> list[int]:
    """Gallery indices, nearest first; Python's sort keeps the order of equal distances."""

    def squared_distance(index: int) -> Fraction:
        return sum(
            ((Fraction(a) - Fraction(b)) ** 2 for a, b in zip(features, gallery_features[index], strict=True)),
            start=Fraction(0),
        )

    return sorted(range(len(gallery_features)), key=squared_distance)


def on_a_line(query: tuple[float, Any, Any], *gallery: tuple[float, Any, Any]) -> CrossRoleMetrics:
    """The metrics of one query; everything is (place on a line, work, role)."""
    return cross_role_metrics(
        np.array([[query[0]]], np.float32),
        np.array([[place] for place, _, _ in gallery], np.float32),
        query_works=[query[1]],
        gallery_works=[work for _, work, _ in gallery],
        query_roles=[query[2]],
        gallery_roles=[role for _, _, role in gallery],
        ranks=RANKS,
    )


def assert_agrees(found: CrossRoleMetrics, *slow_arguments: Any) -> None:
    slow = slow_cross_role_metrics(*slow_arguments)
    assert found.num_valid_queries == slow.num_valid_queries
    if slow.num_valid_queries:
        assert found.mAP == pytest.approx(slow.mAP, abs=1e-12)
        assert found.mINP == pytest.approx(slow.mINP, abs=1e-12)
        assert found.cmc == pytest.approx(slow.cmc, abs=1e-12)
    else:
        assert math.isnan(found.mAP)
        assert math.isnan(found.mINP)
        assert all(math.isnan(value) for value in found.cmc.values())


# By hand. Work A, the query plays role 1 at 0. Ranked: x (B), then A2, then B, then A3: hits at 2 and 4.
def test_precision_is_read_at_each_positive() -> None:
    found = on_a_line((0, "A", 1), (4, "A", 3), (1, "B", 1), (3, "B", 2), (2, "A", 2))
    assert found.mAP == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert found.mINP == pytest.approx(2 / 4)
    assert found.cmc == {1: 0.0, 2: 1.0, 3: 1.0, 5: 1.0, 20: 1.0}
    assert found.num_valid_queries == 1


# By hand. Two images of the query's own role stand nearest; without them the order is B, A2: one hit, at 2.
def test_junk_takes_no_place_in_the_ranking() -> None:
    found = on_a_line((0, "A", 1), (0, "A", 1), (1, "A", 1), (2, "B", 1), (3, "A", 2))
    assert found.mAP == pytest.approx(1 / 2)
    assert found.mINP == pytest.approx(1 / 2)
    assert found.cmc[2] == 1.0


# By hand. Role 1 of work B is another character than role 1 of work A: it is a negative and takes rank 1.
def test_the_same_role_name_in_another_work_is_no_junk() -> None:
    assert on_a_line((0, "A", 1), (1, "B", 1), (2, "A", 2)).mAP == pytest.approx(1 / 2)


# By hand. All at the same place: the order is the gallery's. B, A2, B, A3 gives hits at 2 and 4; A2, A3 first gives 1.
def test_equal_distances_keep_the_order_of_the_gallery() -> None:
    assert on_a_line((0, "A", 1), (1, "B", 1), (1, "A", 2), (1, "B", 1), (1, "A", 3)).mAP == pytest.approx(1 / 2)
    assert on_a_line((0, "A", 1), (1, "A", 2), (-1, "A", 3), (1, "B", 1), (-1, "B", 1)).mAP == 1.0
    # Junk among the tied must not push the positive back: A1 is left out, so B, A2.
    assert on_a_line((0, "A", 1), (1, "A", 1), (1, "B", 1), (1, "A", 2)).mAP == pytest.approx(1 / 2)


def test_a_query_without_a_positive_is_not_counted() -> None:
    found = cross_role_metrics(
        np.zeros((3, 1)),
        np.array([[1.0], [2.0]]),
        query_works=[7, 8, 9],  # 7 has a positive; 8 is met only in its own role; 9 not at all
        gallery_works=[8, 7],
        query_roles=[0, 0, 0],
        gallery_roles=[0, 1],
    )
    assert found.num_valid_queries == 1
    assert found.mAP == pytest.approx(1 / 2)


@pytest.mark.parametrize(("num_queries", "num_gallery"), [(0, 0), (0, 3), (2, 0), (2, 3)])
def test_without_a_valid_query_all_is_nan(num_queries: int, num_gallery: int) -> None:
    found = cross_role_metrics(
        np.zeros((num_queries, 2)),
        np.zeros((num_gallery, 2)),
        query_works=[1] * num_queries,
        gallery_works=[2] * num_gallery,
        query_roles=[1] * num_queries,
        gallery_roles=[1] * num_gallery,
    )
    assert found.num_valid_queries == 0
    assert math.isnan(found.mAP)
    assert math.isnan(found.mINP)
    assert list(found.cmc) == [1, 5, 10, 20]
    assert all(math.isnan(value) for value in found.cmc.values())


def test_a_rank_beyond_the_gallery_takes_its_end() -> None:
    assert on_a_line((0, "A", 1), (1, "B", 1), (2, "B", 1), (3, "A", 2)).cmc == {1: 0, 2: 0, 3: 1, 5: 1, 20: 1}


@st.composite
def small_cases(draw: st.DrawFn) -> tuple[Any, ...]:
    """Few places, few works and few roles, so that ties, junk and queries without positives are common."""
    width = draw(st.integers(1, 3))
    side = draw(st.sampled_from([1, 2, 20]))
    number = st.integers(-side, side)

    def images(count: int) -> tuple[list[list[int]], list[int], list[int]]:
        features = draw(st.lists(st.lists(number, min_size=width, max_size=width), min_size=count, max_size=count))
        labels = st.lists(st.integers(0, 2), min_size=count, max_size=count)
        return features, draw(labels), draw(labels)

    query, query_works, query_roles = images(draw(st.integers(1, 6)))
    gallery, gallery_works, gallery_roles = images(draw(st.integers(1, 14)))
    return query, gallery, query_works, gallery_works, query_roles, gallery_roles


@settings(deadline=None, max_examples=300)
@given(case=small_cases(), kind=st.sampled_from(["float32", "float64", "int64", "float16"]), far=st.integers(0, 1))
def test_it_agrees_with_plain_loops(case: tuple[Any, ...], kind: str, far: int) -> None:
    query, gallery, query_works, gallery_works, query_roles, gallery_roles = case
    # Distances do not change, but a careless formula loses them far from the origin; 1000 is what float16 can hold.
    offset = far * (1000 if kind == "float16" else 100_000)
    found = cross_role_metrics(
        (np.array(query) + offset).astype(kind),
        (np.array(gallery) + offset).astype(kind),
        query_works=query_works,
        gallery_works=gallery_works,
        query_roles=query_roles,
        gallery_roles=gallery_roles,
        ranks=RANKS,
    )
    assert_agrees(found, *case, RANKS)


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_many_chunks_agree_with_plain_loops(kind: str) -> None:
    generator = np.random.default_rng(0)
    num_queries, num_gallery = 300, 90  # more queries than one chunk holds
    features = generator.integers(-3, 4, (num_queries + num_gallery, 5))
    works, roles = generator.integers(0, 9, (2, num_queries + num_gallery))
    query, gallery = features[:num_queries], features[num_queries:]
    labels = [works[:num_queries], works[num_queries:], roles[:num_queries], roles[num_queries:]]
    names = ("query_works", "gallery_works", "query_roles", "gallery_roles")
    found = cross_role_metrics(query.astype(kind), gallery.astype(kind), **dict(zip(names, labels, strict=True)))
    assert_agrees(found, query.tolist(), gallery.tolist(), *(part.tolist() for part in labels), (1, 5, 10, 20))


@pytest.mark.integration
def test_copies_of_an_image_are_ties_whatever_the_matrix_product_rounds() -> None:
    # 211 gallery images at 3 places of a wide space: edge tiles of a matrix product may sum in another order.
    generator = np.random.default_rng(1)
    places = generator.normal(size=(3, 517)).astype(np.float32)
    which = generator.integers(0, 3, 211)
    works, roles = generator.integers(0, 3, 211), generator.integers(0, 4, 211)
    query = generator.normal(size=(7, 517)).astype(np.float32)
    labels: tuple[Any, ...] = ([0, 1, 2, 0, 1, 2, 0], works.tolist(), [0, 1, 2, 3, 0, 1, 2], roles.tolist())
    names = ("query_works", "gallery_works", "query_roles", "gallery_roles")
    found = cross_role_metrics(query, places[which], **dict(zip(names, labels, strict=True)))
    assert_agrees(found, query.tolist(), places[which].tolist(), *labels, (1, 5, 10, 20))


@pytest.mark.parametrize("factor", [1e-30, 1e-3, 1e15, 1e30])
def test_neither_tiny_nor_huge_features_overflow(factor: float) -> None:
    gallery = [(1 * factor, "B", 1), (2 * factor, "A", 2), (3 * factor, "B", 3), (4 * factor, "A", 4)]
    found = on_a_line((0, "A", 1), *gallery)
    assert found.mAP == pytest.approx((1 / 2 + 2 / 4) / 2)


def test_torch_tensors_and_text_labels_give_the_same_as_arrays() -> None:
    generator = np.random.default_rng(2)
    query, gallery = generator.normal(size=(2, 12, 4)).astype(np.float32)
    numbers = generator.integers(0, 3, (4, 12))
    names = ("query_works", "gallery_works", "query_roles", "gallery_roles")
    expected = cross_role_metrics(query, gallery, **dict(zip(names, numbers, strict=True)))
    tensors: dict[str, Any] = {name: torch.from_numpy(part) for name, part in zip(names, numbers, strict=True)}
    grown = torch.from_numpy(query).requires_grad_()
    assert cross_role_metrics(grown, torch.from_numpy(gallery), **tensors) == expected
    texts: dict[str, Any] = {
        name: [f"name {label}" for label in part] for name, part in zip(names, numbers, strict=True)
    }
    assert cross_role_metrics(query, gallery, **texts) == expected
    halves = [torch.from_numpy(part).bfloat16() for part in (query, gallery)]
    widened = [half.float() for half in halves]
    assert cross_role_metrics(*halves, **tensors) == cross_role_metrics(*widened, **tensors)


GOOD: dict[str, Any] = {
    "query_features": np.zeros((2, 3)),
    "gallery_features": np.zeros((2, 3)),
    "query_works": [0, 1],
    "gallery_works": [0, 1],
    "query_roles": [0, 1],
    "gallery_roles": [0, 1],
}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"query_features": np.zeros(3)}, r"query_features has the shape \(3,\)"),
        ({"gallery_features": np.zeros((2, 4))}, "query_features has 3 columns and gallery_features 4"),
        ({"gallery_features": np.zeros((3, 3))}, "gallery_features has 3 rows and gallery_works 2 labels"),
        ({"query_features": np.array([[0, 0, 0], [0, np.nan, 0]])}, "query_features holds NaN or infinity, .* row 1"),
        ({"gallery_features": np.full((2, 3), -np.inf)}, "gallery_features holds NaN or infinity, .* row 0"),
        ({"query_features": np.zeros((2, 3), complex)}, "holds complex128"),
        ({"query_roles": [0]}, "query_works holds 2 labels and query_roles 1"),
        ({"query_works": ["a", "b"]}, "never match"),
        ({"query_works": [0.0, 1.0]}, "query_works holds float64"),
        ({"query_works": [[0], [1]]}, r"query_works has the shape \(2, 1\)"),
        ({"ranks": (1, 0)}, "0 is not a rank"),
    ],
)
def test_wrong_input_is_refused_in_one_line(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(Error, match=message) as caught:
        cross_role_metrics(**{**GOOD, **wrong})
    assert "\n" not in str(caught.value)
