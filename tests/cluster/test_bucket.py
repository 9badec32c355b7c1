"""Two nodes that share no disk for their runs: a bucket keeps the checkpoints."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.conftest import HEAD, WORKER, Cluster
from tests.platform.driver import wait_until
from tests.platform.postgres import free_port
from tests.s3_server import PASSWORD, USER, arguments

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture
def keys(cluster: Cluster, tmp_path: Path) -> Iterator[dict[str, str]]:
    """What opens a bucket whose server runs beside the nodes, as variables."""
    (tmp_path / "buckets/bucket").mkdir(parents=True)
    address = f"{HEAD}:{free_port()}"
    with subprocess.Popen(
        cluster.inside(*arguments(tmp_path / "buckets", address)),
        env=cluster.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        listens = cluster.inside("sh", "-c", f"exec 3<>/dev/tcp/{address.replace(':', '/')}")
        listens[listens.index("sh")] = "bash"
        wait_until(lambda: subprocess.run(listens, check=False, capture_output=True).returncode == 0, 60, "a bucket")
        variables = {"AWS_ACCESS_KEY_ID": USER, "AWS_SECRET_ACCESS_KEY": PASSWORD}
        yield {**variables, "AWS_ENDPOINT_URL": f"http://{address}"}
        for process in cluster.commands_of(server):
            process.kill()


def test_nodes_that_see_different_disks_share_a_bucket(
    cluster: Cluster, search: list[object], keys: dict[str, str], tmp_path: Path
) -> None:
    """The worker does not see the head's `--runs`. Its keys come from a file, as on many machines."""
    runs = cluster.folder / "own/runs"
    options = [
        *search,
        "--trials",
        4,
        "--address",
        cluster.address,
        "--runs",
        runs,
        "--checkpoints",
        "s3://bucket/kept",
    ]
    _, screen = cluster.run("platform.search", *options, expect=2, **keys)
    (line,) = screen.splitlines()
    assert line.startswith(f"error: On node {WORKER}: --checkpoints s3://bucket/kept: ")
    assert not runs.exists()
    folder = Path(cluster.environment["HOME"]) / ".aws"
    folder.mkdir()
    try:
        own = [f"{name.lower()} = {value}" for name, value in keys.items() if name != "AWS_ENDPOINT_URL"]
        (folder / "credentials").write_text("\n".join(["[default]", *own]) + "\n")
        (folder / "config").write_text(f"[default]\nendpoint_url = {keys['AWS_ENDPOINT_URL']}\n")
        out, _ = cluster.run("platform.search", *options)
    finally:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    summary = json.loads(out.splitlines()[-1])
    assert sum(summary["trials"].values()) == 4
    kept = list((tmp_path / "buckets/bucket").rglob("checkpoint.json"))
    assert len(kept) == summary["trials"]["complete"]
    assert f"{kept[0].parents[3].name}" in summary["best"]["checkpoint"]
    assert not [found for found in runs.glob("**/checkpoint_*") if "artifacts" not in found.parts]
    assert os.listdir(tmp_path / "buckets/bucket") == ["kept"]
