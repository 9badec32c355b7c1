"""Which exceptions end a training for which reason."""

import errno
import os

import pytest
import torch

from shards_tools.errors import Error
from trainables.checkpoint_store import BucketAway
from trainables.ray_trial import _early_end
from trainables.step import NonFiniteLoss
from trainables.trial_report import EndReason

ENDS = [
    (NonFiniteLoss("The loss is nan."), EndReason.INFEASIBLE, "The loss is nan."),
    (torch.cuda.OutOfMemoryError("4 GiB"), EndReason.INFEASIBLE, "out of GPU memory: 4 GiB"),
    (MemoryError("4 GiB"), EndReason.INFEASIBLE, "out of memory: 4 GiB"),
    (
        RuntimeError("x.cpp:1: DefaultCPUAllocator: can't allocate memory: 4 GiB"),
        EndReason.INFEASIBLE,
        "out of memory: can't allocate memory: 4 GiB",
    ),
    (BucketAway("s3://b is away."), EndReason.STORE_UNREACHABLE, "s3://b is away."),
    (Error("The shards are damaged."), EndReason.MISTAKE, "The shards are damaged."),
    (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/d"), EndReason.DISK_FULL, "No space left on device"),
    (OSError(errno.ENOENT, "No such file", "/d"), EndReason.BUG, "FileNotFoundError: [Errno 2] No such file: '/d'"),
    (KeyError(3), EndReason.BUG, "KeyError: 3"),
]


@pytest.mark.parametrize(("failure", "reason", "text"), ENDS)
def test_an_exception_ends_a_training_for_a_reason(failure: Exception, reason: EndReason, text: str) -> None:
    end = _early_end(failure)
    assert (end.reason, end.text) == (reason, text)
    assert end.place == ("/d" if reason is EndReason.DISK_FULL else "")
    assert bool(end.traceback) == (reason is EndReason.BUG)
