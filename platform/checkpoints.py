"""The checkpoints of a study's trials: under the study's folder, or in the bucket of --checkpoints."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection

import optuna
from optuna.trial import FrozenTrial, TrialState

from platform.stores import Stores
from platform.tracking.journal import Owner
from platform.trial_record import StudyRecord, TrialRecord
from trainables.training.checkpoint_store import is_there, remove


class Checkpoints:
    """Names the folders of attempts in a bucket, and deletes checkpoints that nothing needs any more."""

    def __init__(self, study: optuna.Study, stores: Stores) -> None:
        self._study = study
        self._folder, self._bucket = stores.folder, folder_of_bucket(study, stores.checkpoints)

    def in_bucket(self, number: int, attempt: int) -> str | None:
        """Return the bucket folder of an attempt of trial `number`; None without a bucket, where Tune names it."""
        return f"{self._bucket}/trial-{number:04d}/attempt-{attempt}" if self._bucket else None

    def delete(self, number: int, keep: str) -> None:
        """Delete the checkpoints of all attempts of a trial but `keep`, which may be empty."""
        for checkpoint in self._folder.glob(f"start-*/trial-{number:04d}-*/checkpoint_*"):
            if str(checkpoint) != keep:
                remove(str(checkpoint))
        if self._bucket:
            remove(f"{self._bucket}/trial-{number:04d}", keep=keep)

    def clean_up(self, trial: FrozenTrial, state: TrialState) -> None:
        """Delete the checkpoints of a trial that ends in `state`, except the last one unless it is pruned."""
        self.delete(trial.number, keep="" if state == TrialState.PRUNED else TrialRecord(trial).checkpoint)

    def clean_up_ended_outside(self, unended: Collection[Owner]) -> None:
        """Clean up after trials that another program has ended while no search ran.

        Args:
            unended: trials whose ends the journal does not have yet.
        """
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state.is_finished() and trial.number in unended:
                self.clean_up(trial, trial.state)


def store_checkpoint(trial: optuna.Trial, place: str) -> None:
    """Store the place of a trial's newest checkpoint, and of the one before, which serves if the newest is damaged."""
    record = TrialRecord(trial)
    if record.checkpoint not in ("", place):
        record.former_checkpoint = record.checkpoint
    record.checkpoint = place


def kept_checkpoints(trial: optuna.Trial) -> list[str]:
    """Return the places of a trial's last two checkpoints, the newest first, without those that are gone."""
    record = TrialRecord(trial)
    return [place for place in (record.checkpoint, record.former_checkpoint) if place and is_there(place)]


def folder_of_bucket(study: optuna.Study, bucket: str | None) -> str | None:
    """Return the study's folder in `bucket`, that of --checkpoints, or None without a bucket.

    The folder's name is unique, so that another study of the same name does not share it.
    """
    if bucket is None:
        return None
    if not StudyRecord(study).bucket_folder:
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", study.study_name)
        StudyRecord(study).bucket_folder = f"{name}-{uuid.uuid4().hex[:8]}"
    return f"{bucket}/{StudyRecord(study).bucket_folder}"
