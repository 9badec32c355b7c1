"""The test split: finalists read it, once, and nothing else in a search does.

The fast tests tell by hand what trainings report; the slow ones run the command on images that cannot be decoded.
"""

import hashlib
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from platform.finalize.after_search import AfterSearch
from platform.finalize.compare_study import best_paper_row
from platform.finalize.cross_validation import best_third
from platform.finalize.final_test import Finalists
from platform.finalize.paired_test import paired_test
from platform.fixed_trials import newest
from platform.protocol import check_protocol
from platform.resilient_storage import PatientStorage
from platform.resolved_search import ResolvedSearch
from platform.study import open_storage, open_study
from platform.tracking.journal import Journal
from shards_tools.errors import Error
from shards_tools.manifest import COLUMN_TYPES, Manifest, fingerprint
from shards_tools.manifest_file import read_manifest, write_manifest
from tests.platform.driver import mlflow_runs, run_search
from tests.platform.searches import changed
from tests.platform.trainings_by_hand import run_to_the_end, search_by_hand
from trainables.evaluation.evaluation import Evaluation
from trainables.training.trial_report import EarlyEnd, EndReason

NUM_TRIALS = 4


def value(of: int, fold: int, seed: int) -> float:
    return {0: 0.3, 1: 0.4, 2: 0.6, 3: 0.5}[of]


@pytest.fixture
def search(search_of: Callable[..., ResolvedSearch]) -> ResolvedSearch:
    options = ("--trials", NUM_TRIALS, "--pruner", "none", "--sampler", "random", "--concurrency", 1, "--seed", 7)
    return search_of(*options, "--finalists", 2, "--final-seeds", 2)


@pytest.fixture
def study(study: optuna.Study, search: ResolvedSearch, journal: Journal, tmp_path: Path) -> optuna.Study:
    """A search that is done; its best are trials 2 and 3, its paper row trial 0."""
    search_by_hand(study, search, journal, value, tmp_path / "search")
    return study


@pytest.fixture
def finalists(study: optuna.Study, search: ResolvedSearch, storage: PatientStorage, journal: Journal) -> Finalists:
    return Finalists(study, search, storage, journal)


def elect(finalists: Finalists, study: optuna.Study) -> None:
    ranked = sorted(study.trials, key=lambda trial: -trial.values[0])
    finalists.elect(ranked, best_paper_row(ranked))


def test_the_best_and_the_paper_row_are_trained_with_seeds_that_the_search_has_not_used(
    finalists: Finalists, study: optuna.Study, search: ResolvedSearch, tmp_path: Path
) -> None:
    elect(finalists, study)
    assert finalists.numbers == [2, 3, 0]
    configs = run_to_the_end(finalists.make_trainings(), lambda config: 0.5, tmp_path / "final")
    assert [config["seed"] for config in configs] == [8, 9] * 3
    assert {config["fold"] for config in configs} == {search.setup.fold}
    assert [config["settings"]["lr"] for config in configs[::2]] == [
        study.trials[number].params["lr"] for number in (2, 3, 0)
    ]


def test_before_the_test_was_read_other_finalists_may_take_their_place(
    finalists: Finalists,
    study: optuna.Study,
    search: ResolvedSearch,
    storage: PatientStorage,
    journal: Journal,
    tmp_path: Path,
) -> None:
    elect(finalists, study)
    fewer = Finalists(study, changed(search, finalists=1), storage, journal)
    elect(fewer, study)
    configs = run_to_the_end(fewer.make_trainings(), lambda config: 0.5, tmp_path / "final")
    assert [config["trial"] for config in configs] == [0, 1, 4, 5]  # what waited for trial 3 is left out
    again = Finalists(study, search, storage, journal)
    elect(again, study)
    assert len(run_to_the_end(again.make_trainings(), lambda config: 0.5, tmp_path / "more")) == 2


def test_a_finalist_whose_training_fails_leaves_the_test_locked(
    finalists: Finalists, study: optuna.Study, tmp_path: Path
) -> None:
    elect(finalists, study)
    trainings = finalists.make_trainings()
    trainings.start("a")
    trainings.end_early("a", EarlyEnd(EndReason.MISTAKE, "a broken disk"))
    trainings.finish("a", died=False)
    run_to_the_end(trainings, lambda config: 0.5, tmp_path / "final")
    with pytest.raises(Error, match=r"trial 2, seed 8 has failed: a broken disk .* was not read"):
        finalists.test()
    assert not finalists.tested


def test_once_the_test_was_read_the_finalists_stand(
    finalists: Finalists, study: optuna.Study, search: ResolvedSearch, storage: PatientStorage, journal: Journal
) -> None:
    elect(finalists, study)
    finalists.trainings.set_user_attr("test 0", {"mAP": 0.5})
    finalists.elect(best_third(study)[:1], None)
    assert finalists.numbers == [2, 3, 0]
    assert Finalists(study, search, storage, journal).numbers == [2, 3, 0]
    with pytest.raises(Error, match=r"--finalists 1 .* was read for 2 finalists with 2 seeds"):
        Finalists(study, changed(search, finalists=1), storage, journal)


def test_finalists_are_compared_seed_by_seed_with_the_paper_row(
    finalists: Finalists, study: optuna.Study, search: ResolvedSearch, storage: PatientStorage, journal: Journal
) -> None:
    elect(finalists, study)
    tested = {2: (0.5, 0.7), 3: (0.6, 0.5), 0: (0.4, 0.3)}
    for one, training in newest(finalists.trainings).items():
        finalists.trainings.set_user_attr(f"test {training.number}", {"mAP": tested[one.of][one.seed - 8]})
    best, second, row = AfterSearch(study, search, storage, journal).as_json()["finalists"]
    assert [one["trial"] for one in (best, second, row)] == [2, 3, 0]
    assert best["values"] == {"8": 0.5, "9": 0.7}
    expected = paired_test(tested[2], tested[0])
    assert (best["difference"], best["p"], best["num_pairs"]) == (expected.difference, expected.p, 2)
    assert row["p"] is None
    assert best["chance"] == Evaluation(search.setup.manifest, "test").chance()["mAP"]


def test_data_without_a_test_split_have_no_finalists(
    search_of: Callable[..., ResolvedSearch], shards: Path, tmp_path: Path
) -> None:
    manifest = read_manifest(shards)
    split = manifest.split()
    codes = manifest.split_code.copy()
    codes[split.test_query] = codes[split.test_gallery] = 0
    copy = shutil.copytree(shards, tmp_path / "without")
    write_manifest(with_right_fingerprint(replace(manifest, split_code=codes)), copy)
    with pytest.raises(Error, match=r"has no test split\. Leave the option out"):
        search_of("--data", copy, "--finalists", 1)
    search_of("--data", copy)


def with_right_fingerprint(manifest: Manifest) -> Manifest:
    columns = {name: getattr(manifest, name) for name in COLUMN_TYPES}
    return replace(manifest, fingerprint=fingerprint(manifest.works, manifest.roles, columns))


def test_a_kept_fold_is_in_no_training_and_in_no_validation(five_folds: Path) -> None:
    manifest = read_manifest(five_folds)
    kept = manifest.with_test_fold(4)
    in_fold = set(np.flatnonzero(manifest.fold == 4).tolist())
    for fold in range(4):
        split, before = kept.split(fold), manifest.split(fold)
        assert not in_fold & {*split.train.tolist(), *split.val_query.tolist(), *split.val_gallery.tolist()}
        assert set(split.train.tolist()) == set(before.train.tolist()) - in_fold
        assert split.val_query.tolist() == before.val_query.tolist()
        assert split.test_query.tolist() == manifest.split(4).val_query.tolist()
        assert split.test_gallery.tolist() == manifest.split(4).val_gallery.tolist()
    with pytest.raises(Error, match=r"Fold 4 .* is kept for the test"):
        kept.split(4)


def test_finalists_of_a_search_that_has_trained_on_their_fold_are_refused(
    search_of: Callable[..., ResolvedSearch], five_folds: Path, journal: Journal, tmp_path: Path
) -> None:
    words = ("--data", five_folds, "--trials", NUM_TRIALS, "--pruner", "none")
    plain, kept = search_of(*words), search_of(*words, "--finalists", 1)
    for first, then, message in (
        (plain, kept, "has trained on fold 4, which would be the test split"),
        (kept, plain, "keeps fold 4 for its finalists. Give --finalists"),
    ):
        storage = open_storage(f"sqlite:///{tmp_path / message[:5]}.db")
        study = open_study(first, storage)
        check_protocol(study, 1, first.setup.manifest.test_fold)
        study.ask()
        check_protocol(study, 1, first.setup.manifest.test_fold)
        with pytest.raises(Error, match=message):
            check_protocol(study, 1, then.setup.manifest.test_fold)


def poisoned(shards: Path, chosen: np.ndarray, out: Path) -> Path:
    """A copy whose chosen images are no pictures, though every checksum in it is right."""
    shutil.copytree(shards, out)
    manifest = read_manifest(out)
    sha256 = manifest.sha256.copy()
    for index in chosen:
        place = out / manifest.shards[manifest.shard[index]].name
        garbage = b"\xff\xd8\xff" + bytes(int(manifest.size[index]) - 3)
        with place.open("r+b") as file:
            file.seek(int(manifest.offset[index]))
            file.write(garbage)
        sha256[index] = hashlib.sha256(garbage).hexdigest().encode()
    whole = tuple(
        replace(shard, sha256=hashlib.sha256((out / shard.name).read_bytes()).hexdigest()) for shard in manifest.shards
    )
    write_manifest(with_right_fingerprint(replace(manifest, sha256=sha256, shards=whole)), out)
    return out


def short(space: Path, shards: Path, runs: Path) -> list[object]:
    words = ["--space", space, "--data", shards, "--runs", runs, "--trials", 2, "--epochs", 2, "--concurrency", 2]
    return [*words, "--reading", "offset"]


@pytest.mark.slow
def test_nothing_but_finalists_reads_the_test_fold_of_five(small_space: Path, five_folds: Path, tmp_path: Path) -> None:
    """The search and its other folds pass though no image of fold 4 can be decoded; the finalists' test names one."""
    manifest = read_manifest(five_folds)
    shards = poisoned(five_folds, np.flatnonzero(manifest.fold == 4), tmp_path / "poisoned")
    words = [*short(small_space, shards, tmp_path / "runs"), "--folds", 2, "--finalists", 1, "--final-seeds", 1]
    out, screen = run_search(*words, expect=2)
    assert out == {}
    message = screen.splitlines()[-1]
    assert message.startswith("error: ")
    assert "is a broken image" in message
    assert any(key in message for key in manifest.keys[manifest.fold == 4])
    num_finalists = 1 if "trainings left: 1;" in screen else 2  # the paper row may be the best
    states = states_of(tmp_path / "runs" / "optuna.db")
    assert {name.rpartition("-tiny")[2]: found for name, found in states.items()} == {
        "": ["COMPLETE"] * 2,
        "-folds": ["COMPLETE"] * 2,
        "-fold-trainings": ["COMPLETE"] * 2,
        "-final": ["COMPLETE"] * num_finalists,
    }


@pytest.mark.slow
def test_a_search_without_finalists_never_reads_the_test_split_and_with_them_once(
    small_space: Path, shards: Path, tmp_path: Path
) -> None:
    split = read_manifest(shards).split()
    bad = poisoned(shards, np.concatenate([split.test_query, split.test_gallery]), tmp_path / "poisoned")
    run_search(*short(small_space, bad, tmp_path / "locked"))

    words = [*short(small_space, shards, tmp_path / "runs"), "--finalists", 1, "--final-seeds", 2]
    summary, screen = run_search(*words)
    assert "on the test split" in screen
    assert "Test split, read once: mAP %" in screen
    for entry in summary["finalists"]:
        for checkpoint in entry["checkpoints"]:
            shutil.rmtree(checkpoint)  # what is gone cannot be evaluated again
    again, screen = run_search(*words)
    assert "on the test split" not in screen.replace("Test split", "")
    told = [{**entry, "checkpoints": []} for entry in summary["finalists"]]
    assert [{**entry, "checkpoints": []} for entry in again["finalists"]] == told
    rows = mlflow_runs(tmp_path / "runs" / "mlflow.db")
    assert len(rows) == 3
    best = told[0]
    run = next(run for run in rows if run.data.tags.get("trial") == str(best["trial"]))
    assert run.data.metrics["test_mean_mAP"] == pytest.approx(best["mean"])
    assert run.data.metrics["test_std_mAP"] == pytest.approx(best["std"])


def states_of(database: Path) -> dict[str, list[str]]:
    """Name of each study -> the states of its trials."""
    with sqlite3.connect(database) as connection:
        rows: list[Any] = connection.execute(
            "SELECT study_name, state FROM studies JOIN trials USING (study_id) ORDER BY trials.number"
        ).fetchall()
    states: dict[str, list[str]] = {}
    for name, state in rows:
        states.setdefault(name, []).append(state)
    return states
