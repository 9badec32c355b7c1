"""What MLflow's environment variables change, and how its errors are worded."""

import socket

import mlflow
import pytest
import requests
from mlflow.exceptions import MlflowException

from platform.tracking.quiet_mlflow import cause_of, client_of, warn_of_ignored
from shards_tools.errors import Error


def test_models_go_to_the_store_of_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "http://127.0.0.1:9")
    uri = "http://127.0.0.1:8"
    assert (client_of(uri).tracking_uri, client_of(uri)._registry_uri) == (uri, uri)


def test_variables_that_would_send_runs_elsewhere_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")  # is used
    warn_of_ignored("sqlite:///mlflow.db")
    assert capsys.readouterr().err == (
        "Ignored: MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME. Name the MLflow store with --tracking and the experiment"
        " with --study.\n"
    )


def test_a_variable_that_names_the_same_store_is_not_mentioned(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    warn_of_ignored("sqlite:///mlflow.db")
    assert capsys.readouterr().err == ""


def test_a_refused_connection_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(MlflowException) as failure:
        client_of("http://127.0.0.1:9").search_experiments()
    assert cause_of(failure.value) == "[Errno 111] Connection refused"


def test_a_server_that_never_answers_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(MlflowException) as failure:
        client_of(f"http://127.0.0.1:{silent.getsockname()[1]}").search_experiments()
    assert cause_of(failure.value) == "it accepts connections, but does not answer"


@pytest.mark.parametrize(
    ("failure", "cause"),
    [
        (requests.ConnectionError(), "ConnectionError"),
        (mlflow.MlflowException("a\nb " + "c " * 400), "MlflowException: a b c"),
        (Error("Rename it."), "Rename it."),
        (ValueError("GET http://me:s3cret@host/x failed"), "ValueError: GET http://me:***@host/x failed"),
        (KeyError(0), "KeyError: 0"),
    ],
)
def test_every_failure_has_a_cause_of_one_short_line(failure: Exception, cause: str) -> None:
    text = cause_of(failure)
    assert text.startswith(cause)
    assert len(text) <= 160
    assert "\n" not in text
