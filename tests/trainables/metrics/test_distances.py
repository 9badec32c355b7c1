"""Distances of features against float64, and what may not change them."""

from typing import Any

import numpy as np
import pytest
import torch

from trainables.metrics import distances
from trainables.metrics.distances import Distances

# Their largest value is between 0.5 and 1, so that no power of two is taken out.
QUERY_QD, GALLERY_GD = torch.rand(50, 64, generator=torch.Generator().manual_seed(0)).mul(2).sub(1).split([20, 30])


@pytest.fixture(autouse=True, params=[True, False], ids=["torch's product", "numpy's product"])
def _by_either_product(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "_is_intel", lambda: request.param)


def test_distances_are_those_of_float64_to_rounding() -> None:
    halved_QG = Distances(QUERY_QD, GALLERY_GD).of(torch.arange(20)).double()
    squared_QG = 2 * halved_QG + QUERY_QD.double().square().sum(dim=1, keepdim=True)
    exact_QG = torch.cdist(QUERY_QD.double(), GALLERY_GD.double()).square()
    torch.testing.assert_close(squared_QG, exact_QG, atol=2e-5, rtol=0)


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_what_the_training_allows_for_matrix_products_changes_nothing(precision: str) -> None:
    expected = Distances(QUERY_QD, GALLERY_GD).of(torch.arange(20)).clone()
    torch.set_float32_matmul_precision(precision)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(Distances(QUERY_QD, GALLERY_GD).of(torch.arange(20)), expected)
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision("highest")


def test_equal_images_are_at_equal_distances_whatever_the_matrix_product_rounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    products = {torch: torch.addmm, np: np.matmul}

    def rounding_by_column(library: Any) -> Any:
        def product(*arguments: Any, out: Any, **settings: Any) -> Any:
            products[library](*arguments, out=out, **settings)
            out += 1e-6 * library.arange(out.shape[1], dtype=out.dtype)
            return out

        return product

    monkeypatch.setattr(torch, "addmm", rounding_by_column(torch))
    monkeypatch.setattr(np, "matmul", rounding_by_column(np))
    gallery_GD = GALLERY_GD[[0, 1, 2, 1, 0, 3, 1]]
    gallery_GD[:, 5] = torch.tensor([0.0, 0.0, 0.0, -0.0, -0.0, 0.0, -0.0])
    distances_QG = Distances(QUERY_QD, gallery_GD).of(torch.arange(20))
    assert torch.equal(distances_QG[:, [3, 6, 4]], distances_QG[:, [1, 1, 0]])
    assert not torch.equal(distances_QG[:, 2], distances_QG[:, 1])
