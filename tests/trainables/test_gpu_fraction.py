"""A training keeps to its share of a GPU. No GPU is needed: what CUDA answers is written in, as of a card of 80 GB."""

from types import SimpleNamespace

import pytest
import torch

from trainables.gpu_fraction import CONTEXT_BYTES, keep_to_share, share_bytes

GB = 10**9


def test_shares_and_the_contexts_of_all_that_share_fit_on_the_gpu() -> None:
    for num in (2, 3, 4):
        assert num * (share_bytes(1 / num, 80 * GB) + CONTEXT_BYTES) <= 80 * GB
    assert share_bytes(1.0, 80 * GB) == share_bytes(2, 80 * GB) == 80 * GB
    assert share_bytes(0.25, GB) == 0


@pytest.mark.parametrize(("fraction", "limit"), [(0.5, [0.49]), (0.25, [0.24]), (1.0, []), (2.0, []), (0.0, [])])
def test_only_whoever_shares_is_limited(fraction: float, limit: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=80 * GB))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", limits.append)
    keep_to_share(fraction)
    assert limits == pytest.approx(limit)


def test_without_a_gpu_nothing_is_limited() -> None:
    keep_to_share(0.5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_what_is_more_than_the_share_is_out_of_memory() -> None:
    total_bytes = torch.cuda.get_device_properties(0).total_memory
    keep_to_share(0.25)
    try:
        with pytest.raises(torch.cuda.OutOfMemoryError):
            torch.empty(int(0.25 * total_bytes), dtype=torch.uint8, device="cuda")
        torch.empty(share_bytes(0.25, total_bytes) // 2, dtype=torch.uint8, device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
