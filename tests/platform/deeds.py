"""What people do to a search, and to what it keeps."""

import contextlib
import os
import time
from pathlib import Path

import optuna
import psutil
from mlflow import MlflowClient
from mlflow.entities import Run
from optuna.trial import FrozenTrial, TrialState

from platform.trial_record import TrialRecord
from tests.platform.driver import wait_until
from tests.platform.small_disk import fill
from tests.platform.storm import FIRST_COMPARISON, TERMINATED, Fault, Storm, processes_of


def delete_run(storm: Storm) -> None:
    """Delete a run in MLflow: that of the newest trial that has one."""
    storm.mlflow.wait()
    client = MlflowClient(storm.mlflow.uri)
    while not storm.done:
        if runs := trial_runs(client):
            number = max(runs)
            client.delete_run(runs[number].info.run_id)
            storm.deleted_runs.add(number)
            return
        storm.keep_running()
        time.sleep(0.2)


def trial_runs(client: MlflowClient) -> dict[int, Run]:
    """The runs of trials that MLflow shows."""
    places = [found.experiment_id for found in client.search_experiments()]
    runs = client.search_runs(places, max_results=10_000)
    return {int(run.data.tags["trial"]): run for run in runs if "trial" in run.data.tags}


def move_runs(storm: Storm) -> None:
    """Stop the search, rename the folder of its runs, and give its command with the new name."""
    storm.terminate()
    wait_until(lambda: not processes_of(storm.mark), 60, "the end of every process of the search")
    storm.runs = storm.runs.rename(storm.places.disk / f"runs {storm.num_starts}")


def end_trial(storm: Storm) -> None:
    """End a running trial in Optuna's database before any trial is compared with it, so that none depends on it."""
    while not storm.done:
        for trial in running(storm):
            if 0 < len(trial.intermediate_values) < FIRST_COMPARISON // 2 and end_outside(
                storm.storage(), trial.number
            ):
                storm.ended_outside.add(trial.number)
                return
        storm.keep_running()
        time.sleep(0.05)


def end_outside(storage: str, number: int) -> bool:
    """Whether the trial of that number had not ended; it has failed now."""
    database = optuna.storages.RDBStorage(storage)
    try:
        (name,) = optuna.get_all_study_names(database)
        study = optuna.load_study(study_name=name, storage=database)
        study.tell(number, state=TrialState.FAIL)
    except ValueError:  # it has ended meanwhile
        return False
    finally:
        database.engine.dispose()
    return True


def running(storm: Storm) -> list[FrozenTrial]:
    """The trials that have not ended."""
    return [trial for trial in storm.trials() if not trial.state.is_finished()]


def fill_tmp(storm: Storm) -> None:
    """Fill the disk of TMPDIR while a trial trains."""
    if storm.training():
        filler = fill(storm.places.tmp)
        storm.until_it_ends()
        filler.unlink()


def damage_checkpoint(storm: Storm) -> None:
    """Cut the newest checkpoint of the running trial in half while nothing writes it, and kill the training."""
    while training := storm.training():
        with contextlib.suppress(psutil.NoSuchProcess):
            training.suspend()
            if saved := [TrialRecord(trial).checkpoint for trial in running(storm) if TrialRecord(trial).checkpoint]:
                for checkpoint in saved:
                    cut_in_half(storm.runs / checkpoint)
                training.kill()
                return
            training.resume()
        time.sleep(0.1)


def cut_in_half(checkpoint: Path) -> None:
    """Truncate the largest file of a checkpoint; of one that was deleted meanwhile, nothing."""
    with contextlib.suppress(FileNotFoundError):
        largest = max(checkpoint.iterdir(), key=lambda file: file.stat().st_size)
        os.truncate(largest, largest.stat().st_size // 2)


DEEDS = {
    "person: deletes a run in MLflow": Fault(delete_run),
    "person: moves the folder of --runs": Fault(move_runs, TERMINATED),
    "person: ends a trial in the study": Fault(end_trial),
    "person: fills the disk of TMPDIR": Fault(fill_tmp, (2,)),
    "person: damages the newest checkpoint": Fault(damage_checkpoint, kills_training=True),
}
