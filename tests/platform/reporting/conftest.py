"""A study with strangers' text in it, and its report."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import create_trial

from platform.report import main
from shards_tools.manifest_file import read_manifest
from tests.platform.stored_by_hand import content_of, database, study_by_hand

STRANGE = "<script>alert(1)</script>"


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory, shards: Path) -> dict[str, Any]:
    """The report of a study with strangers' text in its name, its choices and its rows; and what it was made from."""
    folder = tmp_path_factory.mktemp("strange")
    manifest = read_manifest(shards)
    study = study_by_hand(STRANGE, database(folder), data=manifest.fingerprint)
    choices = ("<img src=x onerror=alert(1)>", "plain")
    for choice in choices:
        trial = create_trial(
            value=0.2,
            params={"choice": choice},
            distributions={"choice": CategoricalDistribution(choices)},
            intermediate_values={1: 0.2},
            user_attrs={"metrics": {"mAP": 0.2}, "baseline": "paper </td><script>", "checkpoint": "/nowhere"},
        )
        study.add_trial(trial)
    study.set_user_attr(
        "last_start", {"command": f"python -m platform.search --space '{STRANGE}'", "data": str(shards)}
    )
    before = content_of(folder)
    out = folder / "out"
    stdout = io.StringIO()
    with contextlib.redirect_stdout(stdout):
        main([STRANGE, "--runs", str(folder), "--out", str(out), "--json"])
    return {"folder": folder, "out": out, "before": before, "json": json.loads(stdout.getvalue()), "shards": shards}
