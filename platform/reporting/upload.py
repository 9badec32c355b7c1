"""Log the report as artifacts of the study's run in MLflow."""

from __future__ import annotations

from pathlib import Path

from platform.tracking.quiet_mlflow import IMPATIENT, cause_of, client_of, import_quietly
from shards_tools.command import say
from shards_tools.redaction import redact

PLACE = "report"  # the folder within the run's artifacts


def upload(tracking: str, study: str, folder: Path) -> str | None:
    """Log a report's folder to the parent run of its study, replacing an earlier report.

    Returns:
        The ID of the run, or None if that failed. The failure is printed but not raised, because the report is on disk.
    """
    import_quietly(**IMPATIENT)
    where = redact(tracking)
    try:
        client = client_of(tracking)
        experiment = client.get_experiment_by_name(study)
        if experiment is None:
            say(f"The report was not logged to MLflow: {where} has no experiment {study}.")
            return None
        runs = client.search_runs([experiment.experiment_id], filter_string="", max_results=50_000)
        parents = [one.info.run_id for one in runs if "mlflow.parentRunId" not in one.data.tags]
        if not parents:
            say(f"The report was not logged to MLflow: {where} has no parent run for study {study}.")
            return None
        run_id: str = parents[0]
        client.log_artifacts(run_id, str(folder), PLACE)
    except Exception as failure:  # whatever the store raises, the report is on disk
        say(f"The report was not logged to MLflow at {where}: {cause_of(failure)}")
        return None
    say(f"Logged the report to MLflow: run of study {study}, Artifacts, {PLACE}/index.html.")
    return run_id
