"""The data that a search may use besides its own fold: the folds of --folds, and the test split of --finalists.

Plain trees and data of classes or identities have a test split. A five-fold tree has none: with --finalists, fold 4 is
the test split, and no training or validation of the search reads it.
"""

from __future__ import annotations

from dataclasses import dataclass

import optuna
from optuna.trial import TrialState

from platform.trial_record import StudyRecord
from shards_tools.command import command_line
from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from trainables.evaluation.evaluation import Evaluation

TEST_FOLD = 4  # of a five-fold tree


@dataclass(frozen=True, kw_only=True)
class EvaluationProtocol:
    """How the best trials are evaluated after the search."""

    folds: int = 1  # folds that the best trials are trained on, including the search's own
    finalists: int | None = None  # trials that are evaluated on the test split; None: it is not read
    final_seeds: int = 3  # seeds that each finalist is trained with
    final_train: bool = False  # whether the best trial is trained once more, on train and val


def with_test_fold(manifest: Manifest, finalists: int | None) -> Manifest:
    """Return the manifest for a search: with finalists, one fold of five-fold data is kept for the test.

    Raises:
        Error: there are finalists, but the data have no test split.
    """
    if finalists is None:
        return manifest
    if manifest.layout == "five-fold":
        return manifest.with_test_fold(TEST_FOLD)
    test = Evaluation(manifest, "test")
    if not len(test.query):
        raise Error(
            f"--finalists {finalists}: {manifest.store} has no test split. Leave the option out, or build shards with a"
            " test split."
        )
    test.chance()  # refuses a test split without an answer to any query
    return manifest


def checked_folds(asked: int | None, manifest: Manifest) -> int:
    """Return the number of folds that the best trials are trained on, including the search's own; 1 by default.

    Raises:
        Error: the data have fewer folds.
    """
    folds = asked or 1
    known = manifest.num_folds - (manifest.test_fold is not None)
    if folds > known:
        if manifest.num_folds == 1:
            hint = ", or build with --five-fold: python -m shards_tools build lsasrd SOURCE --out SHARDS --five-fold"
            raise Error(
                f"--folds {folds}: {manifest.store} has 1 fold. Leave the option out"
                f"{hint if manifest.source == 'lsasrd' else ''}."
            )
        kept = f", of which --finalists keeps fold {TEST_FOLD} for the test" if manifest.test_fold is not None else ""
        raise Error(f"--folds {folds}: {manifest.store} has {manifest.num_folds} folds{kept}. Give at most {known}.")
    return folds


def check_protocol(study: optuna.Study, folds: int, test_fold: int | None) -> None:
    """Refuse a start with fewer folds or another test split than earlier starts of the study.

    Args:
        study: the search.
        folds: folds that the best trials are to be trained on.
        test_fold: the fold that is kept for the finalists; None: no fold.

    Raises:
        Error: the study's folds or its test split do not allow this.
    """
    used = StudyRecord(study).folds
    if folds < used:
        raise Error(
            f"--folds {folds}: the best trials of study {study.study_name} were trained on {used} folds. Give at least"
            f" {used}, or start another study with --study NAME."
        )
    if all(trial.state == TrialState.WAITING for trial in study.get_trials(deepcopy=False)):
        StudyRecord(study).test_fold = test_fold
        return
    kept = kept_test_fold(study)
    if kept is None and test_fold is not None:
        raise Error(
            f"--finalists: study {study.study_name} has trained on fold {test_fold}, which would be the test split."
            " Start another study with --study NAME."
        )
    if kept is not None and test_fold is None:
        raise Error(
            f"Study {study.study_name} keeps fold {kept} for its finalists. Give --finalists N as on its first start,"
            " or start another study with --study NAME."
        )


def command_for_test(checkpoint: str, manifest: Manifest) -> str | None:
    """Return the command that evaluates a checkpoint on the images kept for the test; None if there are none."""
    if manifest.test_fold is not None:
        split: tuple[object, ...] = ("--split", "val", "--fold", manifest.test_fold)
    elif len(Evaluation(manifest, "test").query):
        split = ("--split", "test")
    else:
        return None
    return command_line("platform.evaluate", checkpoint, "--data", manifest.store, *split)


def kept_test_fold(study: optuna.Study) -> int | None:
    """Return the fold of five-fold data that the study keeps for its finalists; None if it keeps none."""
    return StudyRecord(study).test_fold
