"""A checkpoint evaluated on its own is worth what its training reported, on any split that there is."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from platform import evaluate
from shards_tools.build import build
from shards_tools.errors import Error
from shards_tools.manifest_file import read_manifest
from shards_tools.sources import folder
from trainables import train


def result(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    evaluate.main([*words, "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_val_gives_what_the_training_reported(
    checkpoint: Path, shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = result(capsys, str(checkpoint), "--data", str(shards))
    reported = json.loads((checkpoint / "checkpoint.json").read_text())["metrics"]
    assert found["mAP"] == pytest.approx(reported["mAP"], abs=1e-6)
    assert found["cmc"]["5"] == pytest.approx(reported["cmc_5"], abs=1e-6)
    assert found["num_valid_queries"] == reported["num_valid_queries"]
    assert set(found) == {"mAP", "mINP", "cmc", "num_valid_queries", "chance"}


def test_test_is_another_split_with_its_own_chance(
    checkpoint: Path, shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = result(capsys, str(checkpoint), "--data", str(shards), "--split", "test")
    assert found["num_valid_queries"] == len(read_manifest(shards).split().test_query)
    assert found["chance"]["mAP"] == pytest.approx(0.5, abs=0.1)  # two works


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("checkpoint.json", "it has no checkpoint.json"),
        ("weights.safetensors", "weights.safetensors could not be read"),
    ],
)
def test_a_checkpoint_that_lacks_a_file_is_named(
    file: str, message: str, checkpoint: Path, shards: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    (copy / file).unlink()
    with pytest.raises(Error, match=message):
        evaluate.main([str(copy), "--data", str(shards)])


def test_a_fold_that_does_not_exist_is_named(checkpoint: Path, shards: Path) -> None:
    with pytest.raises(Error, match="Fold 3 does not exist"):
        evaluate.main([str(checkpoint), "--data", str(shards), "--fold", "3"])


def test_a_classifier_is_evaluated_by_the_classes_that_it_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in range(4):
        for number in range(20):
            file = tmp_path / "source" / f"c{name}" / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (60 * name, 10 * number, name + number)).save(file)
    build(folder.scan(tmp_path / "source"), tmp_path / "shards")
    out = tmp_path / "out"
    words = ["--recipe", "dafre-tiny", "--data", str(tmp_path / "shards"), "--out", str(out), "--epochs", "1"]
    train.main([*words, "--set", "image_size=24", "batch_size=16", "images_per_epoch=none"])
    found = result(capsys, str(out / "last"), "--data", str(tmp_path / "shards"))
    reported = json.loads((out / "metrics.jsonl").read_text())
    assert found["top1"] == pytest.approx(reported["top1"], abs=1e-6)
    assert (found["chance"]["top1"], found["chance"]["top5"]) == (0.25, 1.0)
    (tmp_path / "source" / "c3").rename(tmp_path / "source" / "other")
    build(folder.scan(tmp_path / "source"), tmp_path / "others")
    with pytest.raises(Error, match=r"has other classes than the checkpoint was trained on \(other\)"):
        evaluate.main([str(out / "last"), "--data", str(tmp_path / "others")])
