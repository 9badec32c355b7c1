"""Import MLflow without its log output; callers report store errors themselves, in one line."""

from __future__ import annotations

import logging
import os
import re
import textwrap
from typing import TYPE_CHECKING

from platform.tracking.local_store import make_tables
from shards_tools.command import say
from shards_tools.errors import MAX_REASON, Error
from shards_tools.redaction import redact

if TYPE_CHECKING:
    from mlflow import MlflowClient

QUIET_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # standard output is reserved for JSON
}
# Variables of MLflow's own functions, which say where a run goes. Here --tracking and --study say so.
IGNORED = (
    *("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"),
    *("MLFLOW_RUN_ID", "MLFLOW_RUN_NAME"),
)
# Report an unreachable server after this many seconds; MLflow's defaults take several minutes.
IMPATIENT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


def import_quietly(**settings: str) -> None:
    """Import MLflow, which takes seconds, with only critical log messages.

    Args:
        settings: environment variables of MLflow to set, unless the user has already set them.
    """
    for name, value in {**QUIET_ENVIRONMENT, **settings}.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: F401

    for name in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def client_of(uri: str) -> MlflowClient:
    """Return a client whose runs and models are both in the store at `uri`, whatever the environment says."""
    from mlflow import MlflowClient

    make_tables(uri)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def warn_of_ignored(uri: str) -> None:
    """Print which variables of the environment would send runs or models to another place than `uri`."""
    names = [name for name in IGNORED if os.environ.get(name) not in (None, "", uri)]
    if names:
        say(f"Ignored: {', '.join(names)}. Name the MLflow store with --tracking and the experiment with --study.")


def cause_of(error: Exception) -> str:
    """Return why a call of MLflow failed, in one short line."""
    if isinstance(error, Error):
        return str(error)
    text = redact(" ".join(str(error).split()))
    if of_system := re.search(r"\[Errno \d+\] [^\"')]+", text):  # at the end of a long message of urllib3
        return of_system[0]
    if "Read timed out" in text:
        return "it accepts connections, but does not answer"
    return textwrap.shorten(f"{type(error).__name__}: {text}" if text else type(error).__name__, MAX_REASON)
