"""Which exceptions end a training for which reason, and where its checkpoints are kept."""

import errno
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from shards_tools.errors import Error, Unreadable
from shards_tools.manifest_file import read_manifest
from trainables import ray_trial
from trainables.ray_trial import DataChanged, ProcessSpent, Reports, _as_asked, _early_end, run_trial
from trainables.training.checkpoint_store import BucketAway
from trainables.training.loss_reader import NonFiniteLoss
from trainables.training.trial_report import EarlyEnd, EndReason, Save, TrialReport, from_result

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
    (DataChanged("The shards are others."), EndReason.DATA_UNREADABLE, "The shards are others."),
    (Unreadable("A shard is missing."), EndReason.DATA_UNREADABLE, "A shard is missing."),
    (Error("The setting is wrong."), EndReason.MISTAKE, "The setting is wrong."),
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


def test_shards_that_were_replaced_during_a_search_are_refused_by_name(shards: Path) -> None:
    manifest = read_manifest(shards)
    assert _as_asked(manifest, {"fingerprint": manifest.fingerprint}).fingerprint == manifest.fingerprint
    with pytest.raises(DataChanged, match=rf"{shards} has other images, .* fingerprint 0123456789abcdef\."):
        _as_asked(manifest, {"fingerprint": "0123456789abcdef" * 4})


def test_the_last_two_checkpoints_are_kept_in_a_bucket_and_their_addresses_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[dict[str, Any]] = []
    bucket: dict[str, str] = {}
    monkeypatch.setattr("ray.tune.report", sent.append)
    monkeypatch.setattr("trainables.ray_trial.send", lambda folder, place: bucket.update({place: read(folder)}))
    monkeypatch.setattr("trainables.ray_trial.remove", bucket.pop)
    reports = Reports("s3://b/a")
    for epoch in (1, 2):
        reports.report(TrialReport(metrics={"epoch": epoch}, reading="offset"), writing(f"epoch {epoch}"))
    reports.partial(writing("within epoch 3"))
    assert bucket == {"s3://b/a/checkpoint_000001": "epoch 2", "s3://b/a/checkpoint_000002": "within epoch 3"}
    assert [from_result(result) for result in sent] == [
        TrialReport(metrics={"epoch": 1}, reading="offset", kept_at="s3://b/a/checkpoint_000000"),
        TrialReport(metrics={"epoch": 2}, reading="offset", kept_at="s3://b/a/checkpoint_000001"),
        TrialReport(kept_at="s3://b/a/checkpoint_000002"),
    ]


CONFIG: dict[str, Any] = {"ranks": 1, "num_threads": 1, "gpu_fraction": 0.0}


@pytest.mark.parametrize(
    ("freed", "end", "happened", "raised"),
    [
        ([True, True], None, ["trained"], ""),
        ([True], EarlyEnd(EndReason.INFEASIBLE, "out of GPU memory"), ["trained", "reported"], "out of GPU memory"),
        ([True, False], None, ["trained"], "bytes of GPU memory are still allocated"),
        ([False], None, [], "bytes of GPU memory are still allocated"),
    ],
)
def test_a_process_ends_after_a_failure_and_if_a_trial_leaves_gpu_memory(
    freed: list[bool], end: EarlyEnd | None, happened: list[str], raised: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a trial: the one before it was pruned. After a trial: it has reported its end already."""
    did: list[str] = []
    answers = iter(freed)

    def trained(*arguments: Any) -> EarlyEnd | None:
        did.append("trained")
        return end

    monkeypatch.setattr(ray_trial, "freed_gpu", lambda: next(answers))
    monkeypatch.setattr(ray_trial, "_train", trained)
    monkeypatch.setattr("ray.tune.report", lambda result: did.append("reported"))
    monkeypatch.setattr(ray_trial.Device, "allocated_bytes", lambda _: 5)
    monkeypatch.setenv(ray_trial.TUNE_PATIENCE_VARIABLE, "2")
    with pytest.raises(ProcessSpent, match=raised) if raised else nullcontext():
        run_trial(CONFIG)
    assert did == happened
    assert next(answers, None) is None


def writing(text: str) -> Save:
    def save(folder: Path) -> None:
        (folder / "weights").write_text(text)

    return save


def read(folder: Path) -> str:
    return (folder / "weights").read_text()
