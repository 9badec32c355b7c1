"""What a trial sends with Tune arrives as it was."""

import json

import pytest

from tests.imports import assert_imports_none_of
from trainables.training.trial_report import EarlyEnd, EndReason, TrialReport, from_result

OF_TUNE = {"training_iteration": 3, "time_total_s": 1.5, "done": False, "config": {"epoch": 7}, "pid": 1}


@pytest.mark.parametrize(
    "sent",
    [
        TrialReport(metrics={"epoch": 2, "system/cpu": 0.5, "time": 9.0}, reading="offset", kept_at="s3://bucket/a"),
        TrialReport(),
        *(EarlyEnd(reason, "in words", place="/disk", traceback="lines", ended_at=9.0) for reason in EndReason),
    ],
    ids=str,
)
def test_what_is_sent_arrives_with_the_keys_of_tune_beside_it(sent: TrialReport | EarlyEnd) -> None:
    result = {**OF_TUNE, **json.loads(json.dumps(sent.to_result()))}
    received = from_result(result)
    assert received == sent
    assert type(received) is type(sent)
    assert all(type(value) in (str, int, float) for value in sent.to_result().values())  # Tune flattens dicts


def test_a_report_knows_its_epoch_and_one_without_metrics_is_partial() -> None:
    report = TrialReport(metrics={"epoch": 2, "mAP": 0.5, "time": 9.0})
    assert (report.epoch, report.time, report.is_partial) == (2, 9.0, False)
    assert TrialReport(reading="offset").is_partial


def test_the_driver_reads_reports_without_torch_and_ray() -> None:
    assert_imports_none_of("trainables.training.trial_report", {"torch", "ray", "numpy"})
