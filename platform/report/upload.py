"""The report as artifacts of the study's run in MLflow, so that it is found beside its numbers."""

from __future__ import annotations

from pathlib import Path

from platform.storage import without_password
from platform.tracking.quiet_mlflow import IMPATIENT, import_quietly
from shards_tools.command import say

PLACE = "report"  # among the artifacts of the run


def upload(tracking: str, study: str, folder: Path) -> str | None:
    """Log all of `folder` on the parent run of `study`, over an earlier report; its id, or None where that failed.

    A store that is away is said in a line and is no failure: the report lies on disk.
    """
    import_quietly(**IMPATIENT)
    from mlflow import MlflowClient

    where = without_password(tracking)
    try:
        client = MlflowClient(tracking_uri=tracking)
        experiment = client.get_experiment_by_name(study)
        if experiment is None:
            say(f"MLflow's store {where} has no study {study}: the report is on disk alone.")
            return None
        runs = client.search_runs([experiment.experiment_id], filter_string="", max_results=50_000)
        parents = [one.info.run_id for one in runs if "mlflow.parentRunId" not in one.data.tags]
        if not parents:
            say(f"MLflow's store {where} has no run of study {study} as a whole: the report is on disk alone.")
            return None
        run_id: str = parents[0]
        client.log_artifacts(run_id, str(folder), PLACE)
    except Exception as failure:  # the store may fail in any way it likes: the report stands
        cause = (str(failure).strip().splitlines() or [type(failure).__name__])[0]
        say(f"MLflow's store {where} has not taken the report ({cause}): it is on disk alone.")
        return None
    say(f"In MLflow it is under Artifacts of the run of study {study}, as {PLACE}/index.html.")
    return run_id
