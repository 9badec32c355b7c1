"""Comparing in float64, where rounding leaves no room for a difference."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make new tensors float64, and let the casts to float32 that bfloat16 backbones need keep float64."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
