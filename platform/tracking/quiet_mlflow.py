"""MLflow's library without its own words: trouble with a store is told in one line by whoever asks it."""

from __future__ import annotations

import logging
import os

QUIET_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # that is JSON's alone
}
# A server that does not answer is named after so many seconds, not after MLflow's own several minutes.
IMPATIENT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


def import_quietly(**settings: str) -> None:
    """Import MLflow, which takes seconds, with these settings of its environment where the user has none of his own."""
    for name, value in {**QUIET_ENVIRONMENT, **settings}.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: F401

    for name in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
