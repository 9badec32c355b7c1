"""Copies are equal to what they copy, and use the memory of earlier ones."""

import torch

from trainables.training.resume import host_copy


def test_a_copy_is_equal_and_independent():
    weight = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    values = {"state": {0: {"momentum": weight, "step": 3}}, "groups": [{"lr": 0.1, "betas": (0.9, 0.99)}]}
    copy = host_copy(values, {})
    values["groups"][0]["lr"] = 0.2
    before = weight.clone()
    weight.add_(1)
    assert torch.equal(copy["state"][0]["momentum"], before)
    assert copy["groups"] == [{"lr": 0.1, "betas": (0.9, 0.99)}]


def test_strides_are_kept_unless_contiguous_copies_are_asked_for():
    """Fused optimizers step through a weight and its state in the order of memory."""
    weight = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    assert host_copy([weight], {})[0].stride() == weight.stride()
    contiguous = host_copy([weight], {}, contiguous=True)[0]
    assert contiguous.is_contiguous()
    assert torch.equal(contiguous, weight)


def test_the_next_copy_overwrites_the_one_before():
    buffers = {}
    first = host_copy({"a": torch.zeros(3), "b": [torch.zeros(2)]}, buffers)
    second = host_copy({"a": torch.ones(3), "b": [torch.ones(2)]}, buffers)
    assert first["a"].data_ptr() == second["a"].data_ptr()
    assert first["b"][0].data_ptr() == second["b"][0].data_ptr()
    assert first["a"].tolist() == [1, 1, 1]
