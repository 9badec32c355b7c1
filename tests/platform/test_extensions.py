"""A search with the user's own backbone, loss and recipe: on workers, after a kill, and in later commands."""

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from PIL import Image

from platform.resolved_search import ResolvedSearch
from platform.trial_record import StudyRecord, TrialRecord
from shards_tools.errors import Error
from tests.platform.driver import ROOT, kill_driver, run_search, started_search, stored_trials, wait_until
from tests.platform.mlflow_server import ask, served

OWN_CODE = ROOT / "tests" / "trainables" / "own_code.py"
SUGGEST = """

def suggest(trial):
    return {
        "recipe": "squeeze-proxies",
        "images_per_epoch": 64,
        "epochs": 3,
        "lr": trial.suggest_float("lr", 1e-4, 1e-2, log=True),
    }
"""


@pytest.fixture
def own_code(tmp_path: Path) -> Path:
    return Path(shutil.copy(OWN_CODE, tmp_path / "mine.py"))


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "space.py"
    path.write_text(SUGGEST)
    return path


def asked(module: str, *words: object, expect: int = 0) -> tuple[dict[str, Any], str]:
    """Run a command; its JSON and what people read."""
    result = subprocess.run(
        [sys.executable, "-m", module, *map(str, words), "--json"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == expect, result.stderr
    return json.loads(result.stdout.splitlines()[-1]) if result.stdout else {}, result.stderr


@pytest.mark.slow
def test_own_code_survives_a_kill_is_refused_once_edited_and_reaches_every_command(
    own_code: Path, space: Path, shards: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    options = ["--space", space, "--data", shards, "--runs", runs, "--study", "mine", "--concurrency", 2]
    named = ["--import", own_code]
    with started_search(*options, *named, "--trials", 2) as search:
        wait_until(lambda: any(runs.glob("*/start-001/*/checkpoint_000000")), 240, "a checkpoint")
        kill_driver(search)
    _, said = run_search(*options, "--trials", 2, expect=2)
    assert said == f"error: Study mine was started with --import {own_code}. Add it.\n"
    result, _ = run_search(*options, *named, "--trials", 2)
    assert sum(result["trials"].values()) == 2
    assert result["trials"]["failed"] == 0

    own_code.write_text(own_code.read_text() + "# edited\n")
    _, said = run_search(*options, *named, "--trials", 3, expect=2)
    assert said.startswith(f"error: {own_code} has changed since study mine was started.")
    result, _ = run_search(*options, *named, "--trials", 3, "--accept-changed-code")
    assert sum(result["trials"].values()) == 3
    result, _ = run_search(*options, *named, "--trials", 3)  # the accepted version is the study's from now on

    best = result["best"]["checkpoint"]
    picture = tmp_path / "one.png"
    Image.new("RGB", (40, 40), (200, 30, 30)).save(picture)
    accept = ["--accept-changed-code"]
    scores, _ = asked("platform.evaluate", best, "--data", shards, *named, *accept)
    assert scores["mAP"] == pytest.approx(result["best"]["value"], abs=1e-6)
    answers, _ = asked("platform.predict", best, picture, "--nearest", shards, *named, *accept)
    assert len(answers["pictures"][0]["nearest"]) == 5
    report, _ = asked("platform.report", "mine", "--runs", runs, "--out", tmp_path / "report", *named, *accept)
    assert Path(report["page"]).is_file()
    _, said = asked("platform.evaluate", best, "--data", shards, expect=2)
    assert f"Add --import {own_code}." in said

    # Another store gets everything again, from a start that reads the code elsewhere.
    (tmp_path / "elsewhere").mkdir()
    named = ["--import", own_code.rename(tmp_path / "elsewhere" / own_code.name)]
    store = f"sqlite:///{tmp_path / 'other.db'}"
    run_search(*options, *named, "--trials", 3, "--tracking", store)
    answers, _ = asked("platform.predict", best, picture, *named, *accept)
    (tmp_path / "elsewhere" / own_code.name).unlink()
    with served(store, "models:/mine@best", tmp_path / "served.log") as address:
        (row,) = ask(address, [{"image": base64.b64encode(picture.read_bytes()).decode()}])
    classes = answers["pictures"][0]["classes"]
    assert row["classes"] == [entry["class"] for entry in classes]
    assert row["probabilities"] == pytest.approx([entry["probability"] for entry in classes], abs=1e-6)
    assert len(row["features"]) == 16


@pytest.mark.slow
def test_a_space_file_that_registers_needs_no_import(own_code: Path, shards: Path, tmp_path: Path) -> None:
    own_code.write_text(own_code.read_text() + SUGGEST)
    options = ["--space", own_code, "--data", shards, "--runs", tmp_path / "runs", "--study", "mine", "--trials", 1]
    result, _ = run_search(*options, "--epochs", 1)
    assert result["trials"] == {"complete": 1, "pruned": 0, "failed": 0}
    (trial,) = stored_trials(tmp_path / "runs" / "optuna.db")
    place = tmp_path / "runs" / TrialRecord(trial).checkpoint
    info = json.loads((place / "checkpoint.json").read_text())
    assert list(info["plugins"]) == [str(own_code)]


def test_a_space_that_fails_without_the_code_of_its_study_names_the_file(
    study: optuna.Study, search_of: Callable[..., ResolvedSearch], small_space: Path
) -> None:
    StudyRecord(study).plugins = {"/home/me/mine.py": "0" * 64}
    small_space.write_text(SUGGEST)
    for named in ([], ["--study", study.study_name]):
        with pytest.raises(Error, match=r"was started with --import /home/me/mine\.py\. Add it\."):
            search_of(*named)
    with pytest.raises(Error, match="'squeeze-proxies' is not a known recipe"):
        search_of("--study", "another")


def test_an_import_that_fails_is_one_line_with_its_place(space: Path, shards: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("import json\n\njson.nothing\n")
    options = ["--space", space, "--data", shards, "--runs", tmp_path / "runs", "--import", broken]
    _, said = run_search(*options, expect=2)
    assert said.startswith(f"error: --import {broken} failed in line 3: AttributeError")
    assert said.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_worker_runs_the_version_that_the_driver_read(tmp_path: Path) -> None:
    """What is shipped is the source: an edit after the start of the search does not reach later trials."""
    program = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from shards_tools.plugins import load_plugins, load_shipped, plugin_hashes, shipped_plugins\n"
        "if sys.argv[1] == 'driver':\n"
        "    names = load_plugins([sys.argv[2]])\n"
        "    Path(sys.argv[2]).write_text('edited = True')\n"
        "    print(json.dumps([shipped_plugins(names), plugin_hashes()]))\n"
        "else:\n"
        "    shipped, hashes = json.loads(sys.argv[2])\n"
        "    load_shipped(shipped, accept_changed_code=False)\n"
        "    assert plugin_hashes() == hashes\n"
    )
    file = tmp_path / "mine.py"
    file.write_text("from shards_tools import register_source\nregister_source('mine', lambda folder: None)\n")
    command = [sys.executable, "-c", program]
    told = subprocess.run([*command, "driver", file], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    subprocess.run([*command, "worker", told], check=True, cwd=ROOT)
