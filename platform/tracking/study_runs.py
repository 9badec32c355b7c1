"""Look up the runs of a study in MLflow, among them those that the user has deleted there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from platform.tracking.journal import Owner, owner_of
from shards_tools.errors import Error

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

DELETED = "deleted"  # MLflow keeps what its UI deletes, in this stage
STUDY_TAG = "study_id"  # of the parent run: tells studies of the same name apart


@dataclass
class StudyRuns:
    """The IDs of a study's runs in its experiment."""

    experiment: str
    parent: str = ""  # empty until it is created
    trials: dict[Owner, str] = field(default_factory=dict)  # trial number, or a final training -> run
    deleted: set[str] = field(default_factory=set)  # runs that the user has deleted


def find_runs(client: MlflowClient, study: str, study_id: str, artifacts: Path | None) -> StudyRuns:
    """Return the runs of a study; its experiment is created if it is missing.

    Args:
        client: the store's client.
        study: the name of the study and of its experiment.
        study_id: tells the study from another one of the same name; empty: not compared.
        artifacts: the folder for artifacts; None: the store has its own.

    Raises:
        Error: the user has deleted the experiment, or it belongs to another study.
    """
    experiment = client.get_experiment_by_name(study)
    if experiment is None:
        # With this kind, the UI opens on the training runs instead of the traces.
        kind = {"mlflow.experimentKind": "custom_model_development"}
        location = artifacts.as_uri() if artifacts else None
        return StudyRuns(own_id(client.create_experiment(study, artifact_location=location, tags=kind)))
    number = own_id(experiment.experiment_id)
    if experiment.lifecycle_stage == DELETED:
        raise Error(f"The experiment {study} was deleted in MLflow. Restore it there (its ID is {number}).")
    found = StudyRuns(number)
    # An active run replaces a deleted one of the same trial.
    for run in sorted(_all_runs(client, number), key=lambda run: run.info.lifecycle_stage != DELETED):
        tags: Mapping[str, str] = run.data.tags
        owner = owner_of(tags)
        if owner is not None:
            found.trials[owner] = run.info.run_id
        else:
            if study_id and tags.get(STUDY_TAG, study_id) != study_id:
                raise Error(
                    f"MLflow's experiment {study} belongs to an earlier study of this name. Rename it in MLflow, or"
                    " start this study under another name with --study NAME."
                )
            found.parent = run.info.run_id
        if run.info.lifecycle_stage == DELETED:
            found.deleted.add(run.info.run_id)
    return found


def own_id(number: str) -> str:
    """Return the ID of an experiment or a run from an answer of the store.

    Raises:
        Error: it is empty. MLflow reads any JSON object, such as that of another server, as a successful answer.
    """
    if not number:
        raise Error("MLflow's store answers without an ID. Check that --tracking names an MLflow server.")
    return number


def mark_best(client: MlflowClient, runs: StudyRuns, trial: Owner) -> None:
    """Set the tag `best` on the run of one trial and remove it from the others."""
    best = runs.trials[trial]
    for run in client.search_runs([runs.experiment], "tags.best = 'true'"):
        if run.info.run_id != best:
            client.delete_tag(run.info.run_id, "best")
    client.set_tag(best, "best", "true")


def _all_runs(client: MlflowClient, experiment: str) -> list[Run]:
    from mlflow.entities import ViewType

    runs: list[Run] = []
    token = None
    while True:
        page = client.search_runs([experiment], run_view_type=ViewType.ALL, page_token=token)
        runs += page
        token = page.token
        if not token:
            return runs
