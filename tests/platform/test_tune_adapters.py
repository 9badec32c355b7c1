"""What Tune's scheduler answers to a trial's reports, and which checkpoints it records."""

from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from ray.tune.schedulers import TrialScheduler

from platform.resolved_search import ResolvedSearch
from platform.terminal.lines import Display
from platform.tracking.journal import Journal
from platform.trials import Trials
from platform.tune_adapters import StudyScheduler
from trainables.training.trial_report import EarlyEnd, EndReason, TrialReport

METRICS = {"mAP": 0.5, "loss": 1.0, "images_per_second": 9.0, "time": 9.0}


@pytest.fixture
def trials(study: optuna.Study, search: ResolvedSearch, journal: Journal) -> Trials:
    found = Trials(study, search, journal, Display(study, search.goal))
    found.start("a")
    return found


def answer(trials: Trials, result: dict[str, Any]) -> str:
    return StudyScheduler(trials).on_trial_result(None, SimpleNamespace(trial_id="a"), {"done": False, **result})


def test_a_checkpoint_in_a_bucket_is_recorded_after_an_epoch_and_within_one(
    trials: Trials, study: optuna.Study
) -> None:
    for place, metrics in (("s3://b/0", {"epoch": 1, **METRICS}), ("s3://b/1", {})):
        sent = TrialReport(metrics=metrics, kept_at=place)
        assert answer(trials, sent.to_result()) == TrialScheduler.CONTINUE
        assert study.trials[0].user_attrs["checkpoint"] == place
    assert study.trials[0].intermediate_values == {1: 0.5}


@pytest.mark.parametrize("reason", EndReason)
def test_after_an_early_end_the_process_ends_itself_unless_the_whole_start_does(
    trials: Trials, reason: EndReason
) -> None:
    """Tune would pass the process of a stopped trial on to the next."""
    ends_start = reason in (EndReason.DISK_FULL, EndReason.STORE_UNREACHABLE, EndReason.DATA_UNREADABLE)
    expected = TrialScheduler.STOP if ends_start else TrialScheduler.CONTINUE
    assert answer(trials, EarlyEnd(reason, "in words").to_result()) == expected
    assert (trials.failure is not None) == ends_start
