"""Import MLflow without its log output; callers report store errors themselves, in one line."""

from __future__ import annotations

import logging
import os

QUIET_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # standard output is reserved for JSON
}
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
