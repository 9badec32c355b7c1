"""Stop one trial of a study, or delete a study with everything that belongs to it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from platform.checkpoints import Checkpoints
from platform.databases import sqlite_file
from platform.lock import StudyTaken, only_driver
from platform.read_only_study import PARTS
from platform.resilient_storage import PatientStorage
from platform.run_paths import use_runs
from platform.stores import Stores
from platform.study import open_storage
from platform.tracking.quiet_mlflow import IMPATIENT, cause_of, client_of, import_quietly
from platform.tracking.study_runs import DELETED
from platform.trial_record import StudyRecord, TrialRecord
from shards_tools.errors import Error, unknown

STOPPED = "stopped with platform.studies"


def stop_trial(stores: Stores, number: int) -> str:
    """End a trial as pruned; if a search runs it, its training stops after the epoch.

    Returns:
        What happens next, for people.

    Raises:
        Error: there is no such trial, or it has ended.
    """
    use_runs(stores.runs)
    storage = open_storage(stores.storage)
    study = _load(storage, stores)
    trials = {trial.number: trial for trial in study.get_trials(deepcopy=False)}
    trial = trials.get(number)
    if trial is None:
        raise Error(f"--trial {number}: study {stores.study} has {len(trials)} trials, from 0 on. Name one of them.")
    if trial.state.is_finished():
        raise Error(f"--trial {number} has ended already: it is {trial.state.name.lower()}. Name a running trial.")
    try:
        with only_driver(stores, storage):
            _end(storage, trial)
            Checkpoints(study, stores).delete(number, keep="")
    except StudyTaken:  # a search runs it, and cleans up itself
        _end(storage, trial)
        return f"Trial {number} of study {stores.study} stops after its epoch."
    return f"Trial {number} of study {stores.study} was stopped. The next start of the search will not resume it."


def _end(storage: PatientStorage, trial: FrozenTrial) -> None:
    storage.set_trial_user_attr(trial._trial_id, TrialRecord.reason.key, STOPPED)
    storage.set_trial_state_values(trial._trial_id, TrialState.PRUNED)


def delete_study(stores: Stores) -> list[str]:
    """Delete a study: its experiment and its model in MLflow, its trials in Optuna's database, and its folder.

    A deletion that was interrupted is finished by the next one.

    Returns:
        What was deleted, and what stays, for people.

    Raises:
        Error: there is no such study, a search runs it, or a store fails.
    """
    storage = open_storage(stores.storage)
    names = storage.study_names()
    if stores.study not in names and not stores.folder.is_dir():
        raise _unknown(stores, names)
    with only_driver(stores, storage):
        lines = _delete_from_mlflow(stores)
        for name in (*(f"{stores.study}-{part}" for part in PARTS), stores.study):
            lines += _delete_from_database(storage, name, is_part=name != stores.study)
        _remove_folder(stores.folder)
    return [*lines, f"Deleted the folder {stores.folder}."]


def _remove_folder(folder: Path) -> None:
    try:
        shutil.rmtree(folder)  # refuses a link
    except OSError as failure:
        raise Error(
            f"{failure.filename or folder} cannot be deleted: {failure.strerror or failure}. Delete it."
        ) from None


def _load(storage: PatientStorage, stores: Stores) -> optuna.Study:
    try:
        return optuna.load_study(study_name=stores.study, storage=storage)
    except KeyError:
        raise _unknown(stores, storage.study_names()) from None


def _unknown(stores: Stores, names: list[str]) -> Error:
    if not names:
        return Error(f"{stores.storage} has no study. Give its folder with --runs.")
    return unknown("study", stores.study, names, listing="python -m platform.studies list")


def _delete_from_database(storage: PatientStorage, name: str, *, is_part: bool) -> list[str]:
    """Delete one study; a search of its own that only has the name of a part stays."""
    try:
        study = optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        return []
    if is_part and StudyRecord(study).is_search:
        return []
    bucket = StudyRecord(study).bucket_folder
    optuna.delete_study(study_name=name, storage=storage)
    kept = [f"Its checkpoints in the bucket stay, in the folder {bucket} of --checkpoints."] if bucket else []
    return [f"Deleted study {name} from Optuna's database.", *kept]


@contextmanager
def _mlflow_errors(stores: Stores) -> Iterator[None]:
    try:
        yield
    except Error:  # another program's database, of which nothing was deleted
        raise
    except Exception as failure:  # whatever the store raises
        raise Error(
            f"MLflow's store {stores.tracking} fails ({cause_of(failure)}). Nothing else was deleted."
            " Name the store of the study with --tracking."
        ) from None


def _delete_from_mlflow(stores: Stores) -> list[str]:
    """Rename the experiment, because MLflow keeps the names of deleted ones, and delete it and the registered model."""
    file = sqlite_file(stores.tracking)
    if file and not (file.is_file() and file.stat().st_size):
        return []
    import_quietly(**IMPATIENT)
    with _mlflow_errors(stores):
        client = client_of(stores.tracking)
        lines = []
        experiment = client.get_experiment_by_name(stores.study)
        if experiment is not None:
            number = experiment.experiment_id
            if experiment.lifecycle_stage == DELETED:  # such an experiment cannot be renamed
                client.restore_experiment(number)
            client.rename_experiment(number, _name_of_deleted(stores.study, number))
        # Not only that one: a deletion that was killed may have renamed it, and no more.
        for renamed in client.search_experiments(filter_string=f"name LIKE '{stores.study} (deleted, %'"):
            if renamed.name == _name_of_deleted(stores.study, renamed.experiment_id):
                client.delete_experiment(renamed.experiment_id)
                lines.append(f"Deleted the experiment in MLflow; it can be restored there as {renamed.name!r}.")
        if client.search_registered_models(f"name='{stores.study}'"):
            client.delete_registered_model(stores.study)
            lines.append("Deleted the registered model in MLflow.")
    return lines


def _name_of_deleted(study: str, experiment: str) -> str:
    return f"{study} (deleted, experiment {experiment})"
