"""A training on train and val: nothing else is read, no metric comes of it, and its checkpoint is known for it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shards_tools import images
from shards_tools.errors import Error
from shards_tools.manifest import DISTRACTOR, TRAINED_ON, TRAINED_ON_ALL_BUT_TEST, Manifest
from shards_tools.manifest_file import read_manifest
from tests.trainables.reports import Reports, assert_equal, state_of
from trainables.evaluation.evaluation import Evaluation
from trainables.inference.verification import measure
from trainables.recipes import get_recipe
from trainables.recipes.transreid import TransReIDRecipe
from trainables.training.checkpoint_info import WEIGHTS_NAME, read_info, refuse_seen_images, refuse_trained_split
from trainables.training.loop import train

TEST_FOLD = 4


@pytest.fixture
def final(manifest: Manifest) -> Manifest:
    """All folds but the last."""
    return manifest.with_test_fold(TEST_FOLD).with_trained(TRAINED_ON_ALL_BUT_TEST)


@pytest.fixture
def recipe(small_recipe: Callable[..., TransReIDRecipe]) -> TransReIDRecipe:
    return small_recipe(epochs=2, warmup_epochs=0)


def test_train_takes_the_images_of_val_and_none_of_test(shards: Path, manifest: Manifest) -> None:
    for whole in (read_manifest(shards), manifest.with_test_fold(TEST_FOLD)):
        before, after = whole.split(), whole.with_trained(TRAINED_ON_ALL_BUT_TEST).split()
        expected = np.concatenate([before.train, before.val, before.val_query, before.val_gallery])
        assert after.train.tolist() == sorted(expected.tolist())
        assert not len(after.val_query) + len(after.val_gallery) + len(after.val)
        for name in ("test_query", "test_gallery", "test"):
            assert getattr(after, name).tolist() == getattr(before, name).tolist()


def test_distractors_of_val_do_not_become_a_class(shards: Path) -> None:
    whole = read_manifest(shards)
    gallery = whole.split().val_gallery
    work = whole.work.copy()
    work[gallery[:3]] = len(whole.works)
    whole = replace(whole, works=(*whole.works, DISTRACTOR), work=work, trained_on=TRAINED_ON_ALL_BUT_TEST)
    assert whole.split().val_gallery.tolist() == gallery[:3].tolist()
    assert DISTRACTOR not in Evaluation(whole, "val").trained_works


def test_a_training_on_train_and_val_reads_no_other_image_and_reports_losses(
    final: Manifest, recipe: TransReIDRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: set[int] = set()
    plain = images.read_image

    def recorded(shards: Manifest, index: int) -> bytes:
        read.add(index)
        return plain(shards, index)

    monkeypatch.setattr(images, "read_image", recorded)
    told = Reports(tmp_path)
    train(recipe, final, report=told, reading="offset")
    assert read == set(np.flatnonzero(final.fold != TEST_FOLD).tolist())
    assert all(np.isfinite(entry["loss"]) for entry in told.metrics)
    assert not {"mAP", "cmc_1", "num_valid_queries", "ms_per_image"} & told.metrics[-1].keys()
    info = read_info(tmp_path / "2")
    works = final.work[final.fold != TEST_FOLD]
    assert info.works == tuple(final.works[work] for work in np.unique(works)), "the classifier has the works of both"
    assert len(info.works) > len(Evaluation(final.with_trained(TRAINED_ON), "val").trained_works)
    assert (info.trained_on, info.test_fold) == (("train", "val"), TEST_FOLD)


def test_it_resumes_bit_for_bit_and_not_from_a_training_on_train_alone(
    final: Manifest, recipe: TransReIDRecipe, tmp_path: Path
) -> None:
    whole, resumed = Reports(tmp_path / "whole"), Reports(tmp_path / "resumed")
    train(recipe, final, report=whole, seed=3)
    train(recipe, final, report=resumed, seed=3, resume=whole.folder / "1")
    assert_equal(state_of(resumed.folder / "2"), state_of(whole.folder / "2"))
    with pytest.raises(Error, match=r"was trained with trained_on \('train', 'val'\), not \('train',\)"):
        train(recipe, final.with_trained(TRAINED_ON), report=resumed, seed=3, resume=whole.folder / "1")


def test_a_checkpoint_is_not_evaluated_on_what_it_has_seen(
    manifest: Manifest, final: Manifest, shards: Path, recipe: TransReIDRecipe, tmp_path: Path
) -> None:
    train(replace(recipe, epochs=1), final, report=Reports(tmp_path))
    info = read_info(tmp_path / "1")
    for fold in range(TEST_FOLD):
        with pytest.raises(Error, match=r"trained on train and val of .* or evaluate with --split val --fold 4\."):
            refuse_trained_split(info, Evaluation(manifest, "val", fold))
    with pytest.raises(Error, match=r"trained on train and val of"):
        measure(tmp_path / "1", manifest, fold=0)  # thresholds for pairs of pictures
    refuse_trained_split(info, Evaluation(manifest, "val", TEST_FOLD))
    with pytest.raises(Error, match=r"has seen\. Use other shards\.$"):
        refuse_trained_split(replace(info, test_fold=None), Evaluation(manifest, "val", TEST_FOLD))
    other = read_manifest(shards)
    refuse_trained_split(info, Evaluation(other, "val"))
    same = replace(info, fingerprint=other.fingerprint, test_fold=None)
    refuse_trained_split(same, Evaluation(other, "test"))
    with pytest.raises(Error, match=r"Use other shards, or evaluate with --split test\.$"):
        refuse_trained_split(same, Evaluation(other, "val"))


def test_a_checkpoint_is_not_evaluated_on_a_fold_that_it_was_trained_on(
    manifest: Manifest, recipe: TransReIDRecipe, tmp_path: Path
) -> None:
    train(replace(recipe, epochs=1), manifest, report=Reports(tmp_path), fold=2)
    info = read_info(tmp_path / "1")
    refuse_trained_split(info, Evaluation(manifest, "val", 2))
    for fold in (0, 1, 3, 4):
        with pytest.raises(Error, match=r"on all folds but 2 of .*: val .*, or evaluate with --split val --fold 2\.$"):
            refuse_trained_split(info, Evaluation(manifest, "val", fold))
    with pytest.raises(Error, match=r"on all folds but 2 of .*: test would only"):
        refuse_trained_split(info, Evaluation(manifest.with_test_fold(TEST_FOLD), "test", 2))
    tested = replace(info, test_fold=TEST_FOLD)
    refuse_trained_split(tested, Evaluation(manifest, "val", TEST_FOLD))
    with pytest.raises(Error, match=r"on all folds but 2 and 4 of .*, or evaluate with --split val --fold 2\.$"):
        refuse_trained_split(tested, Evaluation(manifest, "val", 1))


def test_a_training_resumes_although_the_checkpoint_it_started_from_is_damaged_now(
    manifest: Manifest, recipe: TransReIDRecipe, tmp_path: Path
) -> None:
    train(replace(recipe, epochs=1), manifest, report=Reports(tmp_path), fold=2)
    following = replace(recipe, pretrained=True, weights_file=str(tmp_path / "1"))
    whole, resumed = Reports(tmp_path / "whole"), Reports(tmp_path / "resumed")
    train(following, manifest, report=whole, fold=2)
    (tmp_path / "1" / "checkpoint.json").write_text("damaged")
    train(following, manifest, report=resumed, fold=2, resume=whole.folder / "1")
    assert_equal(state_of(resumed.folder / "2"), state_of(whole.folder / "2"))


@pytest.mark.parametrize("file", ["", WEIGHTS_NAME])
def test_no_training_starts_from_a_checkpoint_that_has_seen_what_it_is_evaluated_on(
    file: str, manifest: Manifest, final: Manifest, recipe: TransReIDRecipe, tmp_path: Path
) -> None:
    short = replace(recipe, epochs=1)
    train(short, manifest, report=Reports(tmp_path), fold=2)
    following = replace(short, pretrained=True, weights_file=str(tmp_path / "1" / file))
    told = Reports(tmp_path / "following")
    with pytest.raises(Error, match=r"^weights_file=.* was trained on all folds but 2 .* the val split of this"):
        train(following, manifest, report=told, fold=0)
    with pytest.raises(Error, match="the test split of this training"):  # on train and val, tested on fold 4
        train(following, final, report=told, fold=2)
    with pytest.raises(Error, match="the test split of this training"):
        train(following, manifest.with_test_fold(TEST_FOLD), report=told, fold=2)
    assert not told.metrics
    if not file:
        train(following, manifest, report=told, fold=2)
        assert told.metrics


def test_a_checkpoint_of_train_and_val_starts_no_training_that_is_validated(
    shards: Path, manifest: Manifest, final: Manifest, recipe: TransReIDRecipe, tmp_path: Path
) -> None:
    short = replace(recipe, epochs=1)
    train(short, final, report=Reports(tmp_path))
    following = replace(short, pretrained=True, weights_file=str(tmp_path / "1"))
    with pytest.raises(Error, match=r"was trained on train and val of .* the val split of this training"):
        train(following, manifest, report=Reports(tmp_path / "following"), fold=0)
    train(following, read_manifest(shards), report=Reports(tmp_path / "other data"))
    train(following, final, report=Reports(tmp_path / "as long again"))


def test_a_teacher_has_not_seen_what_its_student_is_evaluated_on(
    manifest: Manifest, recipe: TransReIDRecipe, tmp_path: Path
) -> None:
    train(replace(recipe, epochs=1), manifest, report=Reports(tmp_path), fold=2)
    student = replace(get_recipe("icartoonface-tiny"), teacher=str(tmp_path / "1"))
    refuse_seen_images(student, manifest, 2)
    with pytest.raises(Error, match=r"^teacher=.*/1 was trained on all folds but 2"):
        refuse_seen_images(student, manifest, 1)


def test_a_checkpoint_from_before_reads_as_trained_on_train(
    manifest: Manifest, recipe: TransReIDRecipe, tmp_path: Path
) -> None:
    train(replace(recipe, epochs=1), manifest, report=Reports(tmp_path))
    file = tmp_path / "1" / "checkpoint.json"
    content = json.loads(file.read_text())
    assert (content.pop("trained_on"), content.pop("test_fold")) == (["train"], None)
    file.write_text(json.dumps(content))
    info = read_info(tmp_path / "1")
    assert (info.trained_on, info.test_fold) == (("train",), None)
    refuse_trained_split(info, Evaluation(manifest, "val"))
