"""What a search may look at beside its own fold: how many folds its best trials go to, and what its finalists' test is.

A plain tree and data of classes or identities have a test split of their own. A five-fold tree has none: where
--finalists is given, fold 4 is the test: no training and no validation of the search sees it.
"""

from __future__ import annotations

import optuna
from optuna.trial import TrialState

from platform.trial_record import StudyRecord
from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from trainables.evaluation import Evaluation

TEST_FOLD = 4  # of a five-fold tree


def with_test_fold(manifest: Manifest, finalists: int | None) -> Manifest:
    """The manifest as a search sees it: with finalists, five-fold data keep a fold for the test."""
    if finalists is None:
        return manifest
    if manifest.layout == "five-fold":
        return manifest.with_test_fold(TEST_FOLD)
    Evaluation(manifest, "test").chance()  # refuses, by name, data without a test split
    return manifest


def checked_folds(asked: int | None, manifest: Manifest) -> int:
    """Return on how many folds the best trials are trained, including the search's own; 1 by default."""
    folds = asked or 1
    known = manifest.num_folds - (manifest.test_fold is not None)
    if folds > known:
        if manifest.num_folds == 1:
            raise Error(
                f"--folds {folds}: {manifest.store} has 1 fold. Leave the option out, or cut a tree of works into"
                " five with: python -m shards_tools build lsasrd SOURCE --out SHARDS --five-fold."
            )
        kept = f", of which --finalists keeps fold {TEST_FOLD} for the test" if manifest.test_fold is not None else ""
        raise Error(f"--folds {folds}: {manifest.store} has {manifest.num_folds} folds{kept}. Give at most {known}.")
    return folds


def check_protocol(study: optuna.Study, folds: int, test_fold: int | None) -> None:
    """Refuse fewer folds than the study has gone to, and another test than it was started for."""
    gone_to = StudyRecord(study).folds
    if folds < gone_to:
        raise Error(
            f"--folds {folds}: the best trials of study {study.study_name} have gone to {gone_to} folds. Give at least"
            f" {gone_to}, or start another study with --study NAME."
        )
    if all(trial.state == TrialState.WAITING for trial in study.get_trials(deepcopy=False)):
        StudyRecord(study).test_fold = test_fold
        return
    kept = kept_test_fold(study)
    if kept is None and test_fold is not None:
        raise Error(
            f"--finalists: study {study.study_name} has trained on fold {test_fold}, which they would be tested on."
            " Start another study with --study NAME."
        )
    if kept is not None and test_fold is None:
        raise Error(
            f"Study {study.study_name} keeps fold {kept} for its finalists. Give --finalists N as its first start did,"
            " or start another study with --study NAME."
        )


def kept_test_fold(study: optuna.Study) -> int | None:
    """The fold of five-fold data that the study keeps for its finalists; None where it keeps none."""
    return StudyRecord(study).test_fold
