"""Warnings of a package are collected for the reports of a trial, each once."""

import logging
from pathlib import Path
from typing import Any

import pytest

from trainables.collected_warnings import collected_warnings
from trainables.ray_trial import Reports
from trainables.training.trial_report import TrialReport, from_result


def test_a_warning_reaches_the_driver_with_the_next_report(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr("ray.tune.report", lambda result, checkpoint: sent.append(result))
    monkeypatch.setattr("ray.tune.get_checkpoint", lambda: None)
    log = logging.getLogger("shards_tools.cache")
    with collected_warnings("shards_tools") as warnings:
        warnings.add("The newest checkpoint is damaged.")
        warnings.add("")
        reports = Reports(None, warnings)
        log.info("not for the driver")
        log.warning("the images in %s are rebuilt", "a/b")
        for _ in range(2):
            reports.report(TrialReport(metrics={"epoch": 1}), write_nothing)
        log.warning("again")
        reports.report(TrialReport(), write_nothing)
    log.warning("after the trial")
    notices = [from_result(result).notice for result in sent]
    assert notices == ["The newest checkpoint is damaged. the images in a/b are rebuilt.", "", "again."]
    assert warnings.taken() == []


def write_nothing(folder: Path) -> None:
    pass
