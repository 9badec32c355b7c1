"""Pictures asked about: pairs by a threshold of the validation split, what is nearest, and classes."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from platform import predict
from shards_tools.errors import Error
from shards_tools.manifest_file import read_manifest
from shards_tools.reader import read_image
from trainables.data.reading import evaluation_inputs
from trainables.device import Device
from trainables.evaluation.evaluate import extract_features
from trainables.inference.verification import VERIFICATION_NAME, measure, read_verification
from trainables.training.checkpoint import load_model
from trainables.training.checkpoint_info import INFO_NAME


def result(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    """What the command prints with --json."""
    predict.main([*map(str, words), "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


@pytest.fixture
def own_checkpoint(checkpoint: Path, tmp_path: Path) -> Path:
    """A copy that a test may write to."""
    return shutil.copytree(checkpoint, tmp_path / "checkpoint")


@pytest.fixture
def pictures(shards: Path, tmp_path: Path) -> Path:
    """WORK/ROLE/IMAGE: all images of three roles of two works."""
    manifest = read_manifest(shards)
    for role in (0, 1, 5):
        for index in np.flatnonzero(manifest.role == role).tolist():
            file = tmp_path / "pictures" / manifest.roles[role] / f"{manifest.keys[index]}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(read_image(manifest, index))
    return tmp_path / "pictures"


def test_a_pair_is_judged_by_the_thresholds_that_were_measured_once(
    own_checkpoint: Path, shards: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = sorted(pictures.rglob("*.jpg"))[:2]
    with pytest.raises(Error, match="has no thresholds for comparing pictures"):
        predict.main([str(own_checkpoint), "--pair", str(first), str(second)])
    measured = result(capsys, own_checkpoint, "--calibrate", shards)["verification"]
    assert measured["num_works_trained"] == measured["num_works"] == 6  # val is cut by role
    known = read_verification(own_checkpoint)
    assert known == measure(own_checkpoint, read_manifest(shards))
    found = result(capsys, own_checkpoint, "--pair", first, second, "--false-accept-rate", "0.1")["pair"]
    model, _ = load_model(own_checkpoint)
    manifest = read_manifest(shards)
    inputs = evaluation_inputs(load_model(own_checkpoint)[1].recipe, manifest, (), "auto")
    indices = [manifest.keys.tolist().index(file.stem) for file in (first, second)]
    one, other = extract_features(model, inputs, np.array(indices), Device("cpu")).numpy()
    assert found["distance"] == pytest.approx(float(np.linalg.norm(one - other)), abs=1e-6)
    assert found["same_work"] == (found["distance"] < found["threshold"])
    assert known is not None
    assert found["threshold"] == known.at_rate(0.1).threshold
    assert 0.05 < found["false_accept_rate"] <= 0.1
    same = result(capsys, own_checkpoint, "--pair", first, first)["pair"]
    assert same["distance"] == pytest.approx(0.0, abs=1e-6)  # two places of a batch may round differently
    assert same["same_work"]
    with pytest.raises(Error, match="A false accept rate of 1e-09 cannot be told from") as refused:
        predict.main([str(own_checkpoint), "--pair", "a", "b", "--false-accept-rate", "1e-9"])
    least = float(str(refused.value).split()[-4])
    assert known.at_rate(least).false_accept_rate <= least


def test_the_nearest_of_shards_and_of_a_folder_are_the_same(
    checkpoint: Path, shards: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = next(pictures.glob("*/*/*.jpg"))
    (of_shards,) = result(capsys, checkpoint, picture, "--nearest", shards, "--top", 1)["pictures"]
    (of_folder,) = result(capsys, checkpoint, picture, "--nearest", pictures, "--top", 1)["pictures"]
    work, role = picture.parts[-3:-1]
    for found in (of_shards, of_folder):
        (nearest,) = found["nearest"]
        assert (nearest["work"], nearest["role"]) == (work, f"{work}/{role}")
        assert nearest["distance"] == pytest.approx(0, abs=1e-3)  # of the root of a rounded square
    assert of_folder["nearest"][0]["image"] == str(picture)


def test_classes_are_those_that_were_trained_on(
    checkpoint: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = result(capsys, checkpoint, pictures, "--top", 9)["pictures"]
    assert len(found) == len(list(pictures.rglob("*.jpg")))
    works = load_model(checkpoint)[1].works
    for picture in found:
        chances = [entry["probability"] for entry in picture["classes"]]
        assert {entry["class"] for entry in picture["classes"]} == set(works)
        assert sum(chances) == pytest.approx(1, abs=1e-5)
        assert chances == sorted(chances, reverse=True)


def test_pictures_that_cannot_be_read_do_not_keep_the_others_from_their_answers(
    checkpoint: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = next(pictures.glob("*/*"))
    whole = result(capsys, checkpoint, folder)["pictures"]
    with Image.open(folder / Path(whole[0]["picture"]).name) as image:
        image.save(folder / "x.webp", lossless=True)
    (folder / "a.jpg").write_bytes(b"\xff\xd8\xff and no more")
    (folder / "notes.txt").write_text("hello")
    predict.main([str(checkpoint), str(folder), "--json"])
    said = capsys.readouterr()
    broken, *others, webp = json.loads(said.out)["pictures"]
    assert broken == {
        "picture": str(folder / "a.jpg"),
        "error": f"{folder / 'a.jpg'} is a broken image (JPEG: its header is damaged). Replace it or remove it.",
    }
    assert [entry["picture"] for entry in others] == [entry["picture"] for entry in whole]
    for found, known in zip([*others, webp], [*whole, whole[0]], strict=True):
        assert [entry["class"] for entry in found["classes"]] == [entry["class"] for entry in known["classes"]]
        chances = [entry["probability"] for entry in known["classes"]]
        assert [entry["probability"] for entry in found["classes"]] == pytest.approx(chances, abs=1e-5)
    assert f"skipped 1 files that are not pictures, such as {folder / 'notes.txt'}" in said.err
    assert said.err.splitlines()[-1].startswith(f"1 of {len(whole) + 2} pictures have no answer, such as: {folder}")
    predict.main([str(checkpoint), str(folder / "x.webp"), "--nearest", str(folder), "--top", "99", "--json"])
    said = capsys.readouterr()
    assert len(json.loads(said.out)["pictures"][0]["nearest"]) == len(whole) + 1
    assert f"left out 1 pictures of the gallery: {folder / 'a.jpg'} is a broken image" in said.err


@pytest.mark.parametrize("background", ["#000000", "#ffffff"])
def test_transparent_pictures_are_seen_on_the_background_of_the_training_images(
    own_checkpoint: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], background: str
) -> None:
    info = json.loads((own_checkpoint / INFO_NAME).read_text())
    info["conversion"] = {"background": background, "exif_orientation": False}
    (own_checkpoint / INFO_NAME).write_text(json.dumps(info))
    with Image.open(next(pictures.rglob("*.jpg"))) as image:
        clear = image.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    flat = Image.new("RGBA", clear.size, background)
    flat.alpha_composite(clear)
    clear.save(tmp_path / "clear.png")
    flat.convert("RGB").save(tmp_path / "flat.png")
    found = result(capsys, own_checkpoint, tmp_path / "clear.png", tmp_path / "flat.png")["pictures"]
    first, second = ({entry["class"]: entry["probability"] for entry in row["classes"]} for row in found)
    assert first == pytest.approx(second, abs=1e-6)


def test_what_cannot_be_answered_is_refused_in_a_line(
    checkpoint: Path, own_checkpoint: Path, shards: Path, pictures: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff and no more")
    (own_checkpoint / VERIFICATION_NAME).write_text("{}")
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    shutil.copy(next(pictures.rglob("*.jpg")), tmp_path / "a" / "b" / "c" / "deep.jpg")
    (tmp_path / "c" / "Train").mkdir(parents=True)
    shutil.copy(next(pictures.rglob("*.jpg")), tmp_path / "c" / "Train" / "1.jpg")
    for words, message in (
        ((checkpoint,), "There is nothing to predict"),
        ((checkpoint, broken), "broken.jpg is a broken image"),
        ((checkpoint, tmp_path / "nowhere.jpg"), "nowhere.jpg does not exist"),
        ((tmp_path, broken), "holds no checkpoint"),
        ((checkpoint, broken, "--pair", broken, broken), "--pair takes exactly two pictures"),
        ((checkpoint, "--nearest", shards), "needs pictures to search for"),
        ((checkpoint, next(pictures.rglob("*.jpg")), "--nearest", tmp_path), "is nested deeper than WORK/ROLE/IMAGE"),
        (
            (checkpoint, next(pictures.rglob("*.jpg")), "--nearest", tmp_path / "c"),
            "c holds the split Train, which is no",
        ),
        ((own_checkpoint, "--pair", broken, broken), "verification.json is damaged"),
        ((checkpoint, "--false-accept-rate", "1"), "is not a number between 0 and 1"),
    ):
        with pytest.raises(Error, match=message):
            predict.main([*map(str, words)])
