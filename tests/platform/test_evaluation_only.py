"""Shards without a train split: a checkpoint is evaluated on them, and nothing trains on them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from platform import evaluate, reproduce, search
from shards_tools import __main__ as shards_command
from shards_tools.errors import Error
from tests.conftest import draw_tree
from trainables import train


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn tree of works without its train: query and gallery."""
    tree = draw_tree(tmp_path_factory.mktemp("tree"), num_train=1, num_test=4, num_roles=4) / "ASRD"
    shutil.rmtree(tree / "train")
    (tree / "test").rename(tree / "gallery")
    return tree


@pytest.fixture(scope="module")
def asked(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shards of query and gallery."""
    out = tmp_path_factory.mktemp("asked") / "shards"
    shards_command.main(["build", "folder", str(parts), "--out", str(out)])
    return out


def json_of(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_they_are_shown_and_verified(asked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shards_command.main(["show", str(asked), "--json"])
    shown = json_of(capsys)
    assert {name for name, count in shown["folds"][0].items() if count} == {"test_query", "test_gallery"}
    assert shown["notes"] == ["the source has no train, so these shards are only for evaluation"]
    shards_command.main(["verify", str(asked), "--level", "deep"])


def test_a_checkpoint_has_the_same_value_there_as_next_to_a_train(
    checkpoint: Path, asked: Path, parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate.main([str(checkpoint), "--data", str(asked), "--split", "test", "--json"])
    alone = json_of(capsys)
    whole = shutil.copytree(parts, tmp_path / "whole")
    train_tree = draw_tree(tmp_path / "tree", num_train=3, num_test=0, num_roles=4) / "ASRD/train"
    for number, work in enumerate(sorted(train_tree.iterdir())):
        shutil.copytree(work, whole / "train" / f"other{number}")
    words = ["build", "folder", str(whole), "--out", str(tmp_path / "shards"), "--allow-duplicates"]
    shards_command.main(words)
    evaluate.main([str(checkpoint), "--data", str(tmp_path / "shards"), "--split", "test", "--json"])
    assert alone == json_of(capsys)
    assert alone["num_valid_queries"] > 0


def test_val_is_refused_and_test_suggested(checkpoint: Path, asked: Path) -> None:
    with pytest.raises(
        Error, match=r"has no val split. Evaluate with --split test, or build shards with what val needs"
    ):
        evaluate.main([str(checkpoint), "--data", str(asked)])


def test_the_advice_for_a_missing_test_can_be_followed(
    checkpoint: Path, five_folds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(
        Error, match=r"has no test split. Evaluate with --split val --fold K, or build shards with a test"
    ):
        evaluate.main([str(checkpoint), "--data", str(five_folds), "--split", "test"])
    evaluate.main([str(checkpoint), "--data", str(five_folds), "--split", "val", "--fold", "2", "--json"])
    assert json_of(capsys)["num_valid_queries"] > 0


def test_nothing_trains_on_them(asked: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for main, words in (
        (train.main, ["--recipe", "transreid-tiny", "--data", str(asked), "--out", str(out)]),
        (search.main, ["--space", "transreid", "--data", str(asked), "--runs", str(out)]),
        (reproduce.main, ["lsasrd-4", "--data", str(asked), "--runs", str(out), "--out", str(out / "table")]),
    ):
        with pytest.raises(
            Error, match=r"has no train split, so it is only for evaluation: use platform.evaluate"
        ) as mistake:
            main(words)
        assert "\n" not in str(mistake.value)
        assert not out.exists()
