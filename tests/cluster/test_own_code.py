"""A file of the user's that only the driver can read: it runs on every node, and an edit of it is noticed."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import HEAD, WORKER, Cluster
from tests.platform.test_extensions import OWN_CODE, SUGGEST

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def own_files(folder: Path) -> tuple[Path, Path]:
    """A space, and the code that it needs."""
    folder.mkdir()
    (folder / "space.py").write_text(SUGGEST)
    return folder / "space.py", Path(shutil.copy(OWN_CODE, folder / "mine.py"))


def summary_of(out: str) -> dict[str, Any]:
    """The JSON of a search that has ended well."""
    summary: dict[str, Any] = json.loads(out.splitlines()[-1])
    assert summary["trials"]["failed"] == 0
    return summary


def refusal(screen: str) -> str:
    """The only line that a refused search says."""
    (line,) = [line for line in screen.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in screen
    return line


def test_code_that_one_node_lacks_trains_there(cluster: Cluster, shards: Path) -> None:
    space, mine = own_files(cluster.folder / "own/code")  # the worker sees an empty folder in place of `own`
    options = ["--space", space, "--data", shards, "--runs", cluster.folder / "own-code", "--study", "mine", "--json"]
    options += ["--address", cluster.address, "--concurrency", 2]
    named = ["--import", mine]
    process = cluster.start("platform.search", *options, *named, "--trials", 4)
    nodes: set[str] = set()
    while process.poll() is None:
        nodes |= cluster.training_nodes()
    out, screen = process.communicate()
    assert process.returncode == 0, out + screen
    assert sum(summary_of(out)["trials"].values()) == 4
    assert nodes == {HEAD, WORKER}

    _, screen = cluster.run("platform.search", *options, "--trials", 5, expect=2)
    assert refusal(screen) == f"error: Study mine was started with --import {mine}. Add it."
    mine.write_text(mine.read_text() + "# edited\n")
    _, screen = cluster.run("platform.search", *options, *named, "--trials", 5, expect=2)
    assert refusal(screen).startswith(f"error: {mine} has changed since study mine was started.")
    out, _ = cluster.run("platform.search", *options, *named, "--trials", 5, "--accept-changed-code")
    assert sum(summary_of(out)["trials"].values()) == 5


def test_a_submitted_search_takes_its_code_with_it(cluster: Cluster, shards: Path, tmp_path: Path) -> None:
    space, mine = own_files(tmp_path / "code")
    submit = ["platform.submit", "--address", cluster.url]
    options = ["--", "--space", space, "--data", shards, "--runs", cluster.folder / "submitted-code"]
    options += ["--study", "mine", "--concurrency", 2, "--json"]
    named = ["--import", mine]
    job, _ = cluster.run(*submit, "--no-wait", *options, *named, "--trials", 2)
    source = mine.read_text()
    mine.unlink()
    out, _ = cluster.run(*submit, "--follow", job.strip())
    first = summary_of(out)
    assert sum(first["trials"].values()) == 2

    _, screen = cluster.run(*submit, *options, *named, "--trials", 3, expect=2)
    assert (
        refusal(screen)
        == f"error: {mine} does not exist here. Your own files are copied to the cluster from this machine."
    )
    mine.write_text(source + "# edited\n")
    out, _ = cluster.run(*submit, *options, "--trials", 3, expect=2)
    assert refusal(out) == "error: Study mine was started with --import mine.py. Add it."
    out, _ = cluster.run(*submit, *options, *named, "--trials", 3, expect=2)
    assert refusal(out).startswith("error: mine.py has changed since study mine was started.")
    out, _ = cluster.run(*submit, *options, *named, "--trials", 3, "--accept-changed-code")
    assert sum(summary_of(out)["trials"].values()) == 3
    mine.write_text(source)
    question = ["platform.evaluate", first["best"]["checkpoint"], "--data", shards, "--json"]
    _, screen = cluster.run(*question, expect=2)
    assert refusal(screen).endswith("needs backbone=squeeze, which is not registered. Add --import mine.py.")
    out, _ = cluster.run(*question, *named)
    assert json.loads(out.splitlines()[-1])["mAP"] == pytest.approx(first["best"]["value"], abs=1e-6)
