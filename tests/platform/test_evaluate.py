"""A checkpoint evaluated on its own is worth what its training reported, on any split that there is."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from platform import api, evaluate
from platform.api import predict
from shards_tools.build import build
from shards_tools.errors import Error
from shards_tools.manifest import TRAINED_ON_ALL_BUT_TEST
from shards_tools.manifest_file import read_manifest
from shards_tools.sources import folder
from trainables import train
from trainables.recipes import get_recipe
from trainables.recipes.settings import override
from trainables.training import loop


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


def save_class(place: Path, color: int, number: int) -> None:
    """Save images of one class: its color, with a shade of their own."""
    place.mkdir(parents=True)
    for image in range(number):
        Image.new("RGB", (8, 8), (60 * color, 10 * image, color + image)).save(place / f"{image}.png")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of four classes, with its shards and the folder of their images."""
    root = tmp_path_factory.mktemp("classifier")
    for number in range(4):
        save_class(root / "source" / f"c{number}", number, 20)
    build(folder.scan(root / "source"), root / "shards")
    words = ["--recipe", "dafre-tiny", "--data", str(root / "shards"), "--out", str(root / "out"), "--epochs", "5"]
    train.main([*words, "--set", "image_size=24", "batch_size=8", "images_per_epoch=none", "lr=0.004"])
    return {"checkpoint": root / "out" / "last", "shards": root / "shards", "source": root / "source"}


def other_shards(classifier: dict[str, Path], folder_of: dict[str, str], root: Path) -> Path:
    """Build shards of some classes of the classifier's images, under these names."""
    for name, original in folder_of.items():
        shutil.copytree(classifier["source"] / original, root / "source" / name)
    build(folder.scan(root / "source"), root / "shards")
    return root / "shards"


def test_a_classifier_gives_what_its_training_reported(
    classifier: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    found = result(capsys, str(classifier["checkpoint"]), "--data", str(classifier["shards"]))
    reported = json.loads((classifier["checkpoint"] / "checkpoint.json").read_text())["metrics"]
    assert found["top1"] == pytest.approx(reported["top1"], abs=1e-6)
    assert found["top1"] > 0.25  # so that the other tests compare something
    assert found["top1_few"] == found["top1"]
    assert (found["chance"]["top1"], found["chance"]["top5"]) == (0.25, 1.0)


def test_a_classifier_of_train_and_val_is_evaluated_on_test_alone_and_counts_the_images_of_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the 26 images of a class 18 are in train, which is few, and 3 in val; 21 are not few."""
    for number in range(4):
        save_class(tmp_path / "source" / f"c{number}", number, 26)
    manifest = build(folder.scan(tmp_path / "source"), tmp_path / "shards")
    recipe = override(get_recipe("dafre-tiny"), {"image_size": 24, "batch_size": 8, "epochs": 1, "warmup_epochs": 0})
    both = manifest.with_trained(TRAINED_ON_ALL_BUT_TEST)
    loop.train(recipe, both, report=lambda report, save: save(tmp_path / "final"))
    found = result(capsys, str(tmp_path / "final"), "--data", str(tmp_path / "shards"), "--split", "test")
    assert found["top1_medium"] == found["top1"]
    assert "top1_few" not in found
    with pytest.raises(Error, match=r"trained on train and val .* or evaluate with --split test\.$"):
        result(capsys, str(tmp_path / "final"), "--data", str(tmp_path / "shards"))


def test_a_subset_of_the_classes_is_evaluated_by_name(
    classifier: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The expectation is counted from the answers of platform.predict, which knows no shards."""
    shards = other_shards(classifier, {name: name for name in ("c3", "c1")}, tmp_path)
    found = result(capsys, str(classifier["checkpoint"]), "--data", str(shards), "--split", "test")
    manifest = read_manifest(shards)
    names = [str(manifest.keys[index]).split("-") for index in manifest.split().test]
    files = [tmp_path / "source" / name / f"{image}.png" for name, image in names]
    answers = predict(classifier["checkpoint"], files, top=1)
    right = [entry["classes"][0]["class"] == Path(entry["picture"]).parent.name for entry in answers]
    assert found["top1"] == pytest.approx(sum(right) / len(right))
    assert found["top5"] == 1.0
    assert found["chance"]["top1"] == 0.25  # an answer may be any of the four classes
    assert not {"top1_few", "top1_medium"} & found.keys()  # these shards do not have the training images


def test_the_order_of_the_classes_does_not_matter(
    classifier: dict[str, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The classes of a source are sorted, so the classifier is given another order: its rows and names are moved."""
    moved = shutil.copytree(classifier["checkpoint"], tmp_path / "moved")
    info = json.loads((moved / "checkpoint.json").read_text())
    order = [2, 0, 3, 1]
    info["works"] = [info["works"][row] for row in order]
    info["checksums"] = {}
    (moved / "checkpoint.json").write_text(json.dumps(info))
    weights = load_file(moved / "weights.safetensors")
    rows = {name: value[order] if "classifiers" in name else value for name, value in weights.items()}
    save_file(rows, moved / "weights.safetensors")
    expected = result(capsys, str(classifier["checkpoint"]), "--data", str(classifier["shards"]))
    assert result(capsys, str(moved), "--data", str(classifier["shards"])) == expected


def test_classes_that_the_checkpoint_does_not_know_are_named_at_most_ten(
    classifier: dict[str, Path], tmp_path: Path
) -> None:
    names = {f"other{number:02d}": "c0" for number in range(12)}
    shards = other_shards(classifier, {"c1": "c1", **names}, tmp_path)
    with pytest.raises(Error, match=r"was not trained on: other00, other01, .*other09 and 2 more\. ") as refused:
        evaluate.main([str(classifier["checkpoint"]), "--data", str(shards)])
    assert "other10" not in str(refused.value)
    assert len(str(refused.value)) <= 400


def test_options_put_their_numbers_beside_the_plain_ones(
    checkpoint: Path, shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = result(capsys, str(checkpoint), "--data", str(shards))
    options = ["--tta", "flip", "--query-expansion", "2", "--rerank"]
    evaluate.main([str(checkpoint), "--data", str(shards), *options, "--json"])
    printed = capsys.readouterr()
    found = json.loads(printed.out.splitlines()[-1])
    assert found["chance"] == plain.pop("chance")
    assert found["plain"]["mAP"] == pytest.approx(plain["mAP"], abs=1e-9)
    assert found["plain"].keys() == plain.keys()
    assert found["mAP"] != plain["mAP"]
    line = next(line for line in printed.err.splitlines() if line.startswith("mAP"))
    assert f"{100 * found['mAP']:6.2f} %   plain {100 * plain['mAP']:6.2f} %" in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tta": "crop"}, "tta='crop' is unknown. Use 'flip'"),
        ({"query_expansion": -1}, "query_expansion=-1 is invalid: it must be an integer >= 0"),
        ({"query_expansion": "three"}, "query_expansion='three' is invalid: it must be an integer >= 0"),
        ({"query_expansion": 10_000}, "--query-expansion 10000 needs more than 10000 gallery images"),
    ],
)
def test_options_with_other_values_are_refused(
    options: dict[str, Any], message: str, checkpoint: Path, shards: Path
) -> None:
    with pytest.raises(Error, match=message):
        api.evaluate(checkpoint, data=shards, **options)


def test_a_classifier_cannot_be_re_ranked(classifier: dict[str, Path]) -> None:
    with pytest.raises(Error, match="--rerank needs a gallery"):
        evaluate.main([str(classifier["checkpoint"]), "--data", str(classifier["shards"]), "--rerank"])
