"""What a training says of its memory."""

import numpy as np
import pytest
import torch

from trainables.peak_memory import PEAK_RESET, forget_peaks, peaks


@pytest.mark.skipif(not PEAK_RESET.exists(), reason="the system cannot count anew")
def test_memory_that_was_given_back_before_is_not_counted() -> None:
    """A process trains one trial after another."""
    cpu = torch.device("cpu")
    large = np.ones(300_000_000, np.uint8)
    with_it = peaks(cpu)["rss_mb"]
    del large
    assert peaks(cpu)["rss_mb"] == with_it
    forget_peaks(cpu)
    assert peaks(cpu)["rss_mb"] < with_it - 250
