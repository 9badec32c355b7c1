"""A mistake on the command line of a search is one line that names it, and leaves nothing behind."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from platform.resolved_search import ResolvedSearch
from platform.search import main
from platform.spaces.registry import space_names
from platform.study import open_storage, open_study
from shards_tools.build import BuildOptions, build
from shards_tools.errors import Error
from shards_tools.sources import folder
from tests.platform.driver import run_search

pytestmark = pytest.mark.integration


def truncate(shards: Path) -> None:
    shard = next(shards.glob("*.tar"))
    shard.write_bytes(shard.read_bytes()[:-1000])


def flip_a_byte(shards: Path) -> None:
    shard = next(shards.glob("*.tar"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(bytes(data))


def remove_the_manifest(shards: Path) -> None:
    (shards / "manifest.json").unlink()


DAMAGES = {
    "a shard that was cut off": (truncate, ".tar is damaged: it holds"),
    "one flipped byte": (flip_a_byte, ".tar is damaged: its checksum"),
    "no manifest": (remove_the_manifest, "has no manifest.json"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_shards_are_named_before_anything_is_started(damage: str, shards: Path, tmp_path: Path) -> None:
    break_it, message = DAMAGES[damage]
    copy = shutil.copytree(shards, tmp_path / "copy")
    break_it(copy)
    with pytest.raises(Error) as caught:
        main(["--space", "transreid", "--data", str(copy), "--runs", str(tmp_path / "runs")])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


MISTAKES = {
    "--trials 0": "'0' is not an integer >= 1",
    "--trials many": "'many' is not an integer >= 1",
    "--hours -1": "'-1' is not a number > 0",
    "--hours nan": "'nan' is not a number > 0",
    "--epochs 0": "'0' is not an integer >= 1",
    "--target 40": "'40' is not a value of the objective",
    "--target nan": "'nan' is not a value of the objective",
    "--seed -1": "'-1' is not an integer >= 0",
    "--patience 0": "'0' is not an integer >= 1",
    "--gpu-hours 2": "--gpu-hours 2: trials of this search have no GPU",
    "--sampler best": "invalid choice: 'best'",
    "--pruner worst": "invalid choice: 'worst'",
    "--objective mapp": "'mapp' is not a known objective. Did you mean 'mAP'?",
    "--objective mAP mINP mAP": "--objective names mAP twice",
    "--objective num_parameters": "the first objective decides which trial is best",
    "--objective mAP gpu_mb": "--objective gpu_mb: trials of this search have no GPU",
    "--objective mAP top1": "--objective top1:",
    "--objective mAP mINP --pruner median": "--pruner median: with several objectives",
    "--objective mAP mINP --sampler rungwise": "--sampler rungwise supports only one objective",
    "--objective mAP mINP --sampler cmaes": "--sampler cmaes supports only one objective",
    "--at-most num_params=3": "'num_params' is not a known cost of --at-most. Did you mean 'num_parameters'?",
    "--at-most num_parameters": "--at-most num_parameters: '' is not a number above 0",
    "--at-most ms_per_image=fast": "--at-most ms_per_image=fast: 'fast' is not a number above 0",
    "--at-most ms_per_image=1 ms_per_image=2": "--at-most limits ms_per_image twice",
    "--at-most gpu_mb=16000": "--at-most gpu_mb: trials of this search have no GPU",
    "--at-most num_parameters=1000": "the smallest of 50 sampled networks of space small has 1",
    "--warm-start earlier": "optuna.db has no study",
    "--warm-start-storage sqlite:///x.db": "Name the study with --warm-start STUDY",
    "--study mine --warm-start mine": "--warm-start mine is this study itself",
    "--scale huge": "invalid choice: 'huge'",
    "--reading fast": "invalid choice: 'fast'",
    "--data pipe:ls": "'pipe:ls' is not an address of shards",
    "--data https://me:secret@host/shards": "--data https://host/shards has a password",
    "--study ../up": "'../up' is not a valid name",
    "--tracking mlruns": "'mlruns' is not an MLflow store",
    "--storage nonsense": "nonsense cannot be used: Could not parse",
    "--gpus-per-trial 99": "this machine has",
    "--runs s3://bucket/runs": "--runs s3:/bucket/runs is an address",
    "--checkpoints /shared/kept": "--checkpoints /shared/kept is not a bucket",
    "--checkpoints https://host/kept": "--checkpoints https://host/kept is not a bucket",
    "--checkpoints s3://me:secret@bucket/kept": "s3://me:***@bucket/kept' has no valid bucket",
    "--ranks-per-trial 999": "--ranks-per-trial 999: this machine holds",
    "--trails 3": "Did you mean '--trials'?",
    "more": "Unexpected argument 'more'",
}


def test_any_folder_does_for_what_is_kept(
    search_of: Callable[..., ResolvedSearch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (".", "a:b", "s3"):
        assert search_of("--runs", name).stores.runs == tmp_path / name


@pytest.mark.parametrize("words", MISTAKES)
def test_a_wrong_option_is_named_with_its_value(words: str, shards: Path, small_space: Path, tmp_path: Path) -> None:
    given = ["--space", str(small_space), "--data", str(shards), "--runs", str(tmp_path / "runs"), *words.split()]
    with pytest.raises(Error) as caught:
        main(given)
    assert MISTAKES[words] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_an_objective_that_the_data_do_not_have_is_refused(tmp_path: Path) -> None:
    for name in ("ann", "bea"):
        for number in range(4):
            file = tmp_path / "source" / name / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (60 * number, 200, len(name) * number)).save(file)
    build(folder.scan(tmp_path / "source"), tmp_path / "shards", BuildOptions(allow_duplicates=True))
    words = ["--space", "transreid", "--data", str(tmp_path / "shards"), "--runs", str(tmp_path / "runs")]
    with pytest.raises(Error, match=r"--objective mAP: .* holds classes that train and val share. Use one of top1,"):
        main([*words, "--objective", "mAP"])


def test_a_space_that_starts_from_a_checkpoint_of_train_and_val_is_refused(
    checkpoint: Path, shards: Path, small_space: Path, tmp_path: Path
) -> None:
    final = shutil.copytree(checkpoint, tmp_path / "final")
    info = json.loads((final / "checkpoint.json").read_text())
    (final / "checkpoint.json").write_text(json.dumps({**info, "trained_on": ["train", "val"]}))
    start = f'"pretrained": True, "weights_file": {str(final)!r}, "lr":'
    small_space.write_text(small_space.read_text().replace('"lr":', start, 1))
    with pytest.raises(Error, match=r"^weights_file=.*/final was trained on train and val of .*\. Use a checkpoint of"):
        main(["--space", str(small_space), "--data", str(shards), "--runs", str(tmp_path / "runs")])
    assert not (tmp_path / "runs").exists()


def test_data_that_is_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(Error, match=r"nowhere is not a folder\. Build shards: python"):
        main(["--space", "transreid", "--data", str(tmp_path / "nowhere")])


def test_the_command_ends_with_2_and_one_line(tmp_path: Path) -> None:
    _, screen = run_search("--space", "transried", "--runs", tmp_path / "runs", expect=2)
    known = ", ".join(space_names())
    assert screen == f"error: 'transried' is not a known space. Did you mean 'transreid'? Known: {known}.\n"


def test_another_number_of_epochs_on_a_stored_study_is_refused(
    search: ResolvedSearch, small_space: Path, shards: Path, tmp_path: Path
) -> None:
    open_study(search, open_storage(search.stores.storage))
    given = ["--space", str(small_space), "--data", str(shards), "--runs", str(tmp_path / "runs"), "--epochs", "7"]
    with pytest.raises(Error, match=r"--epochs is 7, but study .* was started with 4"):
        main(given)
