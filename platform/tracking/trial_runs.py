"""What MLflow gets of one trial: the tags, parameters, metrics and status that the trial's events add up to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from platform.tracking.journal import Event, tag_of

if TYPE_CHECKING:
    from mlflow.entities import Metric, Param

RUN_STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED", "RUNNING": "RUNNING"}


def tags_of(events: Sequence[Event]) -> dict[str, str]:
    """Return the tags that events of a trial set on its run, the last value of each."""
    return {key: value for event in events for key, value in _tags_of(event).items()}


def params_of(events: Sequence[Event]) -> list[Param]:
    """Return the parameters in the starts of a trial, each once: MLflow refuses a call that names one twice."""
    from mlflow.entities import Param

    params = {key: value for event in events if event["kind"] == "trial" for key, value in event["params"].items()}
    return [Param(key, str(value)) for key, value in params.items()]


def metrics_of(events: Sequence[Event]) -> list[Metric]:
    """Return a point for each metric of each epoch."""
    from mlflow.entities import Metric

    return [
        Metric(key, value, round(event["time"] * 1000), event["step"])
        for event in events
        if event["kind"] == "metrics"
        for key, value in event["values"].items()
    ]


def last_turn(events: Sequence[Event]) -> Event | None:
    """Return the last event that starts or ends the trial; None if none does."""
    return next((event for event in reversed(events) if event["kind"] in ("trial", "end")), None)


def _tags_of(event: Event) -> dict[str, str]:
    if event["kind"] == "trial":
        return {**dict([tag_of(event["trial"])]), "state": "RUNNING", **event["tags"]}
    if event["kind"] == "tag":
        return {event["key"]: event["value"]}
    if event["kind"] == "end":
        return {"state": event["state"], **({"reason": event["reason"]} if event["reason"] else {})}
    return {}
