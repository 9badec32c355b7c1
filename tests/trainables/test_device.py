"""The device seam, as far as it can be seen without a GPU."""

import pytest
import torch

from tests.trainables.recording import RecordingDevice
from trainables.device import Device


def float32():
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(
    ("device", "precision", "expected"),
    [
        (RecordingDevice(), "tf32", ("high", True)),
        (RecordingDevice(), "fp32", ("highest", False)),
        (RecordingDevice(), "bf16", ("highest", False)),
        (Device("cpu"), "tf32", ("highest", False)),
    ],
    ids=["a GPU in tf32", "a GPU in fp32", "a GPU in bf16", "a CPU"],
)
def test_only_a_gpu_uses_tf32_and_only_where_the_recipe_says_so(device, precision, expected):
    before = float32()
    with device.precision(precision):
        assert float32() == expected
    assert float32() == before


def test_what_the_user_allows_is_restored():
    torch.set_float32_matmul_precision("medium")
    try:
        with Device("cpu").precision("fp32"):
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_only_float16_is_scaled():
    assert {name: Device("cpu").scaler(name).is_enabled() for name in ("bf16", "fp16", "tf32", "fp32")} == {
        "bf16": False,
        "fp16": True,
        "tf32": False,
        "fp32": False,
    }


@pytest.mark.parametrize(
    ("precision", "has_bfloat16", "warns"), [("bf16", False, True), ("fp16", False, False), ("bf16", True, False)]
)
def test_a_gpu_without_bfloat16_is_told_to_use_float16(precision, has_bfloat16, warns, monkeypatch, caplog):
    monkeypatch.setattr(RecordingDevice, "has_bfloat16", has_bfloat16)
    RecordingDevice().configure(precision)
    assert ("Set precision=fp16." in caplog.text) == warns
