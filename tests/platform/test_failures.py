"""Trainings that end early: which of them end a trial, and which end the search."""

import errno
import os
import tempfile
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from platform.failures import MAX_FAILURES_IN_A_ROW, refuse_full_disk
from platform.resolved_search import ResolvedSearch
from platform.terminal.lines import Display
from platform.tracking.journal import Journal
from platform.trials import Trials
from shards_tools.errors import Error
from shards_tools.folders import means_full_disk
from trainables.training.trial_report import EarlyEnd, EndReason, TrialReport


@pytest.fixture
def trials(study: optuna.Study, search: ResolvedSearch, journal: Journal) -> Trials:
    return Trials(study, search, journal, Display(study, search.goal))


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (EarlyEnd(EndReason.MISTAKE, "The disk is full."), Error),
        (EarlyEnd(EndReason.BUG, "KeyError: 3", traceback="Traceback"), RuntimeError),
    ],
)
def test_failures_in_a_row_end_the_start_as_a_mistake_or_as_a_bug(
    trials: Trials, end: EarlyEnd, error: type[Exception]
) -> None:
    for number in range(MAX_FAILURES_IN_A_ROW):
        assert not trials.done
        trials.start(f"attempt {number}")
        trials.end_early(f"attempt {number}", end)
        trials.finish(f"attempt {number}", died=False)
    assert trials.done
    with pytest.raises(error, match="5 trials in a row failed"):
        trials.failed.raise_if_too_many()


@pytest.mark.parametrize("reason", [EndReason.STORE_UNREACHABLE, EndReason.DATA_UNREADABLE])
def test_a_store_that_stays_away_or_data_that_changed_ends_the_start_and_no_trial(
    reason: EndReason, trials: Trials, study: optuna.Study
) -> None:
    trials.start("a")
    with pytest.raises(Error, match=r"s3://bucket/x is away\. Run the same command again; running trials resume"):
        trials.end_early("a", EarlyEnd(reason, "s3://bucket/x is away."))
    assert study.get_trials()[0].state == TrialState.RUNNING


@pytest.mark.parametrize("place", ["/shared/cache", ""])
def test_a_full_disk_ends_the_start_and_no_trial(trials: Trials, study: optuna.Study, place: str) -> None:
    trials.start("a")
    named = place or trials.stores.runs
    with pytest.raises(Error, match=f"^{named} cannot be written: No space left on device\\. Free"):
        trials.end_early("a", EarlyEnd(EndReason.DISK_FULL, "No space left on device", place=place))
    assert study.get_trials()[0].state == TrialState.RUNNING


def test_settings_that_cannot_train_are_pruned_though_not_as_a_failure(trials: Trials, study: optuna.Study) -> None:
    trials.start("a")
    trials.end_early("a", EarlyEnd(EndReason.INFEASIBLE, "out of memory"))
    trials.finish("a", died=False)
    assert (study.trials[0].state, study.trials[0].user_attrs["reason"]) == (TrialState.PRUNED, "out of memory")


def test_an_early_end_of_an_attempt_that_has_ended_is_dropped(trials: Trials, study: optuna.Study) -> None:
    trials.start("old")
    trials.finish("old", died=True)
    trials.end_early("old", EarlyEnd(EndReason.DISK_FULL, "No space left on device"))
    assert study.trials[0].state == TrialState.RUNNING


def test_a_process_that_dies_after_its_trial_has_ended_early_costs_no_attempt(
    trials: Trials, study: optuna.Study
) -> None:
    trials.start("a")
    trials.end_early("a", EarlyEnd(EndReason.INFEASIBLE, "out of memory"))
    trials.finish("a", died=True)
    assert study.trials[0].state == TrialState.PRUNED


@pytest.mark.parametrize(("saved", "state"), [(True, TrialState.COMPLETE), (False, TrialState.RUNNING)])
def test_a_process_that_dies_after_the_last_epoch_costs_an_attempt_only_without_its_checkpoint(
    trials: Trials, study: optuna.Study, tmp_path: Path, saved: bool, state: TrialState
) -> None:
    """The checkpoint of a trial holds the numbers of its last epoch."""
    attempt = trials.start("a")
    assert attempt is not None
    for epoch in range(1, attempt["settings"]["epochs"] + 1):
        trials.checkpoint("a", str(tmp_path))  # of the epoch before
        metrics = {"epoch": epoch, "mAP": 0.5, "loss": 1.0, "images_per_second": 9.0, "time": time.time()}
        trials.report("a", TrialReport(metrics=metrics))
    if saved:
        trials.checkpoint("a", str(tmp_path))
    trials.finish("a", died=True)
    assert study.trials[0].state == state


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> set[Path]:
    """The folders whose disks are full."""
    folders: set[Path] = set()
    for module in ("shards_tools.folders", "platform.trials"):
        monkeypatch.setattr(f"{module}.is_full", folders.__contains__)
    return folders


@pytest.mark.parametrize(
    ("is_full", "file", "named"),
    [
        (("runs",), None, "runs"),
        (("tmp",), None, "tmp"),
        (("runs", "tmp"), None, "runs"),
        ((), None, "runs"),
        ((), "cache/pixels", "cache"),
        (("tmp",), "runs/optuna.db", "runs"),
    ],
)
def test_the_folder_that_is_full_is_named(
    full: set[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_full: tuple[str, ...],
    file: str | None,
    named: str,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    full.update(tmp_path / name for name in is_full)
    failure = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / file) if file else None)
    with (
        pytest.raises(Error, match=rf"^{tmp_path / named} cannot be written: No space left on device\. Free"),
        refuse_full_disk(tmp_path / "runs"),
    ):
        raise failure


def test_a_process_that_dies_because_the_temporary_folder_is_full_fails_no_trial(
    trials: Trials, study: optuna.Study, full: set[Path]
) -> None:
    full.add(Path(tempfile.gettempdir()))
    trials.start("a")
    with pytest.raises(Error, match=rf"^{tempfile.gettempdir()} cannot be written: no space is left"):
        trials.finish("a", died=True)
    assert study.get_trials()[0].state == TrialState.RUNNING


@pytest.mark.parametrize(
    ("text", "is_told"),
    [
        ("Error while serializing: I/O error: No space left on device (os error 28)", True),  # of safetensors
        ("[Errno 122] Disk quota exceeded", True),
        ("expected 3 channels", False),
    ],
)
def test_another_librarys_error_of_a_full_disk_is_recognized(text: str, is_told: bool) -> None:
    assert means_full_disk(RuntimeError(text)) == is_told


def test_the_error_of_a_copy_names_the_disk_of_its_target(tmp_path: Path) -> None:
    """As `shutil` raises it: the file that is read comes first."""
    runs = tmp_path / "runs"
    failure = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/elsewhere/source", None, str(runs / "target"))
    with pytest.raises(Error, match=rf"^{runs} cannot be written: No space left"), refuse_full_disk(runs):
        raise failure


def fail_as_tune_does() -> None:
    try:
        raise ProcessLookupError("its process ended")
    except ProcessLookupError:
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            raise RuntimeError("handling the error failed") from None


def test_a_disk_that_is_full_while_a_library_handles_an_error_is_named(tmp_path: Path) -> None:
    with pytest.raises(Error, match=rf"^{tmp_path} cannot be written: No space left"), refuse_full_disk(tmp_path):
        fail_as_tune_does()


def test_a_failure_that_no_disk_caused_is_raised_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(PermissionError, match="not permitted"), refuse_full_disk(tmp_path):
        raise PermissionError(errno.EPERM, "not permitted")
