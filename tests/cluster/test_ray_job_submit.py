"""`ray job submit` as people type it, three times in a row, with the project not installed and with its wheel."""

import os
import secrets
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.conftest import HEAD
from tests.cluster.namespaces import entering, namespace
from tests.platform.test_installed_package import CLEAN, ROOT, Installed, bare_environment, output_of

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

NODE = """
set -e
ip link set lo up
ip address add {head}/32 dev lo
ray start --head --node-ip-address={head} --port=6379 --dashboard-host={head} --num-cpus=2 --num-gpus=0 \\
    --object-store-memory=100000000 --temp-dir={short}
echo the node is up
exec sleep infinity
"""


@pytest.fixture(params=["not installed", "wheel"])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> Installed:
    """One with Ray's command and the libraries, and with the project or without."""
    environment = bare_environment(tmp_path / "env")
    ray = environment.python.with_name("ray")
    ray.write_text(f"#!{environment.python}\nfrom ray.scripts.scripts import main\nmain()\n")
    ray.chmod(0o755)
    if request.param == "wheel":
        output_of([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=ROOT)
        with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as archive:
            archive.extractall(environment.site_packages)
    return environment


@pytest.fixture
def variables(environment: Installed, tmp_path: Path) -> dict[str, str]:
    """Of a shell in which the environment is the active one."""
    (tmp_path / "home/.ray").mkdir(parents=True)
    (tmp_path / "home/.ray/auth_token").write_text(secrets.token_hex(32))
    path = f"{environment.python.parent}:{os.environ['PATH']}"
    kept = {name: value for name, value in CLEAN.items() if not name.startswith("RAY_")}
    return kept | {"HOME": str(tmp_path / "home"), "PATH": path, "RAY_AUTH_MODE": "token"}


@pytest.fixture
def node(variables: dict[str, str], tmp_path: Path) -> Iterator[list[str]]:
    """What a command line begins with that runs beside a cluster of one node."""
    with tempfile.TemporaryDirectory(prefix="ray-") as short:
        script = NODE.format(head=HEAD, short=short)
        with namespace(script, "the node is up", tmp_path, variables) as process:
            yield entering(process)


def test_a_search_is_submitted_by_ray_three_times(
    environment: Installed, variables: dict[str, str], node: list[str], tmp_path: Path
) -> None:
    checkout = tmp_path / "checkout"
    subprocess.run(["git", "clone", "--quiet", ROOT, checkout], check=True)
    submit = f"ray job submit --address http://{HEAD}:8265 --working-dir ."
    search = "python -m platform.search --space transreid --trials 2 --epochs 1 --concurrency 1"
    command = [*node, "env", "--chdir", checkout, *submit.split(), "--", *search.split()]
    for _ in range(3):
        ran = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=600, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "2 complete, 0 pruned, 0 failed." in ran.stdout
