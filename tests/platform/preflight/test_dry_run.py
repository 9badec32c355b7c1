"""A dry run finds what would fail later, says it in one line, and leaves nothing behind."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

from platform.preflight.dry_run import refuse_what_does_not_fit
from platform.preflight.measure_step import measure_steps
from platform.resolved_search import ResolvedSearch
from platform.resources import this_machine
from platform.search import main
from platform.spaces.loading import load_space
from platform.study import open_storage, open_study
from shards_tools.build import BuildOptions, build
from shards_tools.errors import Error
from shards_tools.manifest_file import read_manifest
from shards_tools.sources.lsasrd import scan
from tests.conftest import draw_tree
from tests.platform.driver import run_search
from tests.platform.preflight.measured import GB, projection_of
from tests.platform.searches import changed, suggestions_of
from tests.platform.test_bad_input import truncate
from tests.shards_tools.stores.servers import Web
from trainables.training.loop import train
from trainables.training.trial_report import Save, TrialReport


@pytest.fixture(scope="module")
def dry(
    tmp_path_factory: pytest.TempPathFactory, small_space_text: str, shards: Path
) -> tuple[Path, dict[str, Any], str]:
    """A dry run of the small space: where it ran, its JSON, and what people read."""
    place = tmp_path_factory.mktemp("dry")
    (place / "small.py").write_text(small_space_text)
    words = ["--space", place / "small.py", "--data", shards, "--runs", place / "runs", "--trials", 6, "--dry-run"]
    return place, *run_search(*words)


@pytest.fixture
def refused(shards: Path, small_space: Path, tmp_path: Path) -> Callable[..., str]:
    """Gives the one line with which a dry run of the small space ends, these options added or put in place."""

    def refused(*options: object, space: Path = small_space, data: Path = shards) -> str:
        words = ["--space", space, "--data", data, "--runs", tmp_path / "runs", *options, "--dry-run"]
        with pytest.raises(Error) as caught:
            main([str(word) for word in words])
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "runs").exists()
        return str(caught.value)

    return refused


@pytest.mark.slow
def test_a_dry_run_leaves_nothing_behind(dry: tuple[Path, dict[str, Any], str]) -> None:
    assert sorted(path.name for path in dry[0].rglob("*") if "__pycache__" not in str(path)) == ["small.py"]


@pytest.mark.slow
def test_a_dry_run_says_what_the_search_will_take(dry: tuple[Path, dict[str, Any], str]) -> None:
    _, foreseen, screen = dry
    for part in ("Space", "Data", "Stores", "Largest", "Memory", "Disk", "Trials", "Time"):
        assert f"\n {part} " in screen
    assert screen.count("\n") < 30
    assert foreseen["trials"] == {"wanted": 6, "finished": 0, "running": 0, "left": 6, "expected_complete": 2}
    assert foreseen["epochs"] == {"longest": 4, "expected": 4 + 4 + 4 * 2}  # the baselines, and the rung of the rest
    assert foreseen["hours"]["most"] > foreseen["hours"]["expected"] > 0


@pytest.mark.slow
def test_a_dry_run_of_a_stored_study_says_how_much_is_left_and_changes_nothing(
    search: ResolvedSearch, small_space: Path, shards: Path, tmp_path: Path
) -> None:
    study = open_study(search, open_storage(search.stores.storage))
    study.tell(study.ask(), 0.5)
    study.ask()
    before = [*sqlite3.connect(tmp_path / "runs" / "optuna.db").iterdump()]
    files = sorted(path for path in (tmp_path / "runs").rglob("*"))
    words = ["--space", small_space, "--data", shards, "--runs", tmp_path / "runs", "--trials", 6, "--dry-run"]
    foreseen, screen = run_search(*words)
    assert foreseen["trials"] == {"wanted": 6, "finished": 1, "running": 1, "left": 5, "expected_complete": 1}
    assert "1 finished, 5 left, 1 of them resume from checkpoints" in " ".join(screen.split())
    assert [*sqlite3.connect(tmp_path / "runs" / "optuna.db").iterdump()] == before
    assert sorted(path for path in (tmp_path / "runs").rglob("*")) == files


def test_another_search_under_a_stored_name_is_refused(
    search: ResolvedSearch, small_space: Path, shards: Path, tmp_path: Path
) -> None:
    open_study(search, open_storage(search.stores.storage))
    words = ["--space", small_space, "--data", shards, "--runs", tmp_path / "runs", "--epochs", 7, "--dry-run"]
    with pytest.raises(Error, match=r"--epochs is 7, but study .* was started with 4"):
        main([str(word) for word in words])


def test_a_key_that_no_recipe_has_is_found_in_a_branch_that_draws_hardly_reach(
    refused: Callable[..., str], small_space: Path
) -> None:
    """One of 400 choices: 60 suggestions at random pass it by."""
    rare = 'settings["drop_pth"] = 0.1 if trial.suggest_categorical("rare", tuple(range(400))) == 399 else None'
    body = f'settings = {{"recipe": "transreid-tiny"}}\n    {rare}\n    return '
    body += "{key: value for key, value in settings.items() if value is not None}"
    small_space.write_text(f"def suggest(trial):\n    {body}\n")
    assert "Space small: 'drop_pth' is not a known recipe key. Did you mean 'drop_path'?" in refused()


def test_a_baseline_outside_of_the_space_is_found(refused: Callable[..., str], small_space: Path) -> None:
    small_space.write_text(small_space.read_text().replace('"lr": 1e-4}', '"lr": 5.0}'))
    assert "Space small, baseline 'paper row': lr=5.0 is outside FloatDistribution" in refused()


def test_shards_that_are_not_what_their_manifest_says_are_found(
    refused: Callable[..., str], shards: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(shards, tmp_path / "copy")
    truncate(copy)
    assert f"{copy}/" in (line := refused(data=copy))
    assert ".tar is damaged: it holds" in line


def test_a_fold_without_queries_is_found(refused: Callable[..., str], tmp_path: Path) -> None:
    """The works of fold 0 have one role each, so that nothing is asked that the gallery could answer."""
    for fold in range(5):
        tree = draw_tree(tmp_path / f"tree-{fold}", num_train=2, num_test=0, num_roles=1 if fold == 0 else 3)
        for work in (tree / "ASRD" / "train").iterdir():
            for image in work.rglob("*.jpg"):
                name = image.name.replace("JP", f"JP{fold}")
                place = tmp_path / "five" / "ASRDf" / str(fold) / f"JP{fold}{work.name[2:]}" / image.parent.name
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(image, place / name)
    build(scan(tmp_path / "five"), tmp_path / "shards", BuildOptions(allow_duplicates=True))
    line = refused(data=tmp_path / "shards")
    assert f"{tmp_path / 'shards'}: no val query has a positive in the gallery." in line
    assert "build the shards from works with at least two roles in val" in line


def test_stores_that_cannot_be_written_are_found(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no database, " * 99)
    for option, value in (
        ("--runs", tmp_path / "file" / "runs"),
        ("--runs", "/proc/runs"),
        ("--storage", f"sqlite:///{tmp_path / 'file'}"),
        ("--storage", "sqlite:////proc/none/optuna.db"),
        ("--storage", "nonsense"),
        ("--storage", "postgresql+psycopg://me:secret@127.0.0.1:9/none"),
        ("--tracking", f"sqlite:///{tmp_path / 'file'}"),
        ("--tracking", "http://127.0.0.1:9"),
    ):
        line = refused(option, value)
        assert line.startswith(f"{option} {value}".replace("secret", "***"))
        assert " cannot be written: " in line
        assert "Give " in line
    assert (tmp_path / "file").read_text() == "no database, " * 99


def measure_largest(search: ResolvedSearch) -> None:
    """On a machine with 400 MB of free memory."""
    largest = suggestions_of(search).largest()
    measure_steps(search.setup, search.resources, [largest], [this_machine()], [400 * 10**6])


def test_too_little_memory_for_one_training_is_found_without_taking_it(search: ResolvedSearch) -> None:
    """A limit of 400 MB, less than the libraries take, simulates a full machine."""
    with pytest.raises(
        Error, match=r"Space small includes transreid-tiny with .* needs more than the 0\.4 GB of memory"
    ):
        measure_largest(search)


def test_a_step_whose_process_a_library_ends_for_want_of_memory_is_told_the_same(
    search: ResolvedSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.preflight.measure_step.run_one_step", _abort)
    with pytest.raises(Error, match=r"Space small includes .* was killed, .* needs more than the 0\.4 GB of memory"):
        measure_largest(search)


def _abort(_: object) -> None:
    os.abort()


@pytest.mark.slow
def test_too_little_memory_for_all_trainings_at_a_time_is_found(refused: Callable[..., str]) -> None:
    line = refused("--concurrency", 20_000)
    assert "20000 at a time need" in line
    assert "Set --concurrency below 20000" in line


def test_a_training_too_large_for_its_share_of_a_gpu_is_found(search: ResolvedSearch) -> None:
    """The numbers are those of a GPU of 80 GB: a quarter of it ran out after 25 GB, or there was no more to take."""
    shared = changed(search, gpus_per_rank=0.25)
    largest = suggestions_of(search).largest()
    refuse_what_does_not_fit(projection_of(shared, gpu_bytes=19 * GB, gpu_total_bytes=80 * GB), largest)
    with pytest.raises(Error, match=r"needs 25\.0 GB of GPU memory, but --gpus-per-trial 0\.25 allows 19\.2 GB\."):
        refuse_what_does_not_fit(projection_of(shared, gpu_bytes=25 * GB, gpu_total_bytes=80 * GB), largest)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_training_that_runs_out_of_gpu_memory_is_found(refused: Callable[..., str]) -> None:
    line = refused("--gpus-per-trial", 1e-4, "--concurrency", 1)
    assert "needs more GPU memory than --gpus-per-trial 0.0001 allows" in line


def test_a_disk_too_small_for_the_checkpoints_is_found(search: ResolvedSearch) -> None:
    with pytest.raises(Error, match=r"--runs .* the checkpoints need about .* \(100000\.0 GB each\)"):
        refuse_what_does_not_fit(projection_of(search, checkpoint_bytes=10**14), suggestions_of(search).largest())


def test_the_checkpoint_and_the_speed_are_those_of_a_real_training(
    dry: tuple[Path, dict[str, Any], str], search: ResolvedSearch, tmp_path: Path
) -> None:
    """The fastest of four epochs, as this machine may be busy."""
    recipe = suggestions_of(search).largest().recipe
    speeds = []

    def keep(report: TrialReport, save: Save) -> None:
        save(tmp_path / "checkpoint")
        speeds.append(report.metrics["images_per_second"])

    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        train(recipe, read_manifest(search.setup.data), report=keep)
    finally:
        torch.set_num_threads(num_threads)
    real = sum(os.path.getsize(file) for file in (tmp_path / "checkpoint").iterdir())
    assert dry[1]["disk_gb"]["checkpoint"] * 1e9 == pytest.approx(real, rel=0.2)
    assert 1 / 10 < dry[1]["step"]["images_per_second"] / max(speeds) < 10


def test_the_largest_training_is_the_largest_of_all_that_the_space_offers(
    search_of: Callable[..., ResolvedSearch],
) -> None:
    """Against the choices that make a transformer large, taken to their ends by hand."""
    search = changed(search_of(), space=load_space("transreid", "tiny"))
    largest = suggestions_of(search).largest()
    assert dict(largest.sizes) == {
        "image_size": 32,
        "optimizer": "adamw",
        "backbone": "vit_96x4",
        "stride_px_at_32": 2,
        "jpm": True,
        "works_per_batch": 16,
        "images_per_work": 8,
    }


def test_every_choice_of_a_space_is_drawn(search_of: Callable[..., ResolvedSearch], tmp_path: Path) -> None:
    (tmp_path / "deep.py").write_text(
        "def suggest(trial):\n"
        '    n = trial.suggest_categorical("a", tuple(range(200)))\n'
        '    if n == 77 and trial.suggest_categorical("b", tuple(range(100))) == 99:\n'
        '        trial.suggest_int("c", 1, 1000)\n'
        '    return {"recipe": "transreid-tiny"}\n'
    )
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    assert suggestions_of(search_of("--space", tmp_path / "deep.py")).num_choices == 200 + 100 + 2


@pytest.mark.slow
def test_a_dry_run_with_a_mistake_ends_with_2_and_one_line(small_space: Path, shards: Path, tmp_path: Path) -> None:
    words = ["--space", small_space, "--data", shards, "--runs", "/proc/runs", "--dry-run"]
    foreseen, screen = run_search(*words, expect=2)
    assert json.dumps(foreseen) == "{}"
    assert screen.count("\n") == 1
    assert screen.startswith("error: --runs /proc/runs cannot be written: ")


@pytest.mark.slow
def test_a_dry_run_on_remote_shards_copies_nothing(
    small_space: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SAKUGA_CACHE", str(tmp_path / "cache"))
    with Web() as server:
        server.files = {f"/set/{file.name}": file.read_bytes() for file in shards.iterdir()}
        words = ["--space", small_space, "--data", f"{server.address}/set", "--runs", tmp_path / "runs", "--dry-run"]
        foreseen, _ = run_search(*words)
    assert foreseen["step"]["images"] == 16
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix in (".npy", ".tar")] == []
    assert not (tmp_path / "runs").exists()
