"""The package named platform once installed, in worker processes, and under Ray."""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
TOP_LEVEL = {"_platform_path.py", "platform_path.pth", "platform_path.start"}


class Installed(NamedTuple):
    """An environment with the project in it, and the folder where it found it."""

    python: Path
    site_packages: Path


def output_of(command: Sequence[str | Path], cwd: Path, **variables: str) -> str:
    """What the command prints; its failure shows both streams."""
    words = [str(word) for word in command]
    ran = subprocess.run(words, cwd=cwd, env={**CLEAN, **variables}, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def bare_environment(folder: Path) -> Installed:
    """A new environment that sees the libraries of this one, but none of its start-up hooks."""
    output_of([sys.executable, "-m", "venv", "--without-pip", folder], cwd=folder.parent)
    python = folder / "bin/python"
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site_packages = Path(output_of([python, "-I", "-c", asked], cwd=folder).strip())
    # A plain path in a .pth file is appended; .pth files inside it are not read.
    libraries = Path(pytest.__file__).parents[1]
    (site_packages / "libraries.pth").write_text(f"{libraries}\n")
    return Installed(python, site_packages)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    output_of([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def from_wheel(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """An environment into which the wheel was unpacked."""
    environment = bare_environment(tmp_path_factory.mktemp("from-wheel") / "env")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(environment.site_packages)
    return environment


@pytest.fixture(scope="module")
def editable(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """An environment with an editable install of this checkout."""
    environment = bare_environment(tmp_path_factory.mktemp("editable") / "env")
    install = ["install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--editable", ROOT]
    output_of([sys.executable, "-m", "pip", "--python", environment.python, *install], cwd=ROOT)
    return environment


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Another checkout, with the mechanism alone and a search that doubles numbers."""
    folder = tmp_path / "checkout"
    (folder / "platform").mkdir(parents=True)
    for file in ("platform/__init__.py", "_platform_path.py"):
        shutil.copy(ROOT / file, folder / file)
    (folder / "platform/search.py").write_text("def double(number):\n    return 2 * number\n")
    return folder


def test_a_wheel_carries_the_hook_at_its_top(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert names >= TOP_LEVEL | {"platform/__init__.py", "platform/search.py", "trainables/training/loop.py"}
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]


@pytest.mark.parametrize("how", ["from_wheel", "editable"])
@pytest.mark.parametrize("mode", ["plain", "isolated", "safe path"])
def test_once_installed_the_search_starts_anywhere(
    how: str, mode: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    environment: Installed = request.getfixturevalue(how)
    assert {entry.name for entry in environment.site_packages.iterdir()} >= TOP_LEVEL
    flags = ["-I"] if mode == "isolated" else []
    variables = {"PYTHONSAFEPATH": "1"} if mode == "safe path" else {}
    command = [environment.python, *flags, "-m", "platform.search", "--help"]
    assert "--space" in output_of(command, cwd=tmp_path, **variables)
    place = output_of([environment.python, *flags, "-c", "import platform; print(*platform.__path__)"], cwd=tmp_path)
    home = ROOT if how == "editable" else environment.site_packages
    assert place.strip() == str(home / "platform")


def test_a_checkout_wins_over_the_installed_copy(from_wheel: Installed, checkout: Path) -> None:
    asked = "import platform; print(*platform.__path__)"
    assert output_of([from_wheel.python, "-c", asked], cwd=checkout).strip() == str(checkout / "platform")


def test_pytest_tests_its_own_checkout_where_another_is_installed(from_wheel: Installed, checkout: Path) -> None:
    for file in ("conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / file, checkout / file)
    (checkout / "tests").mkdir()
    shutil.copy(ROOT / "tests/lanes.py", checkout / "tests/lanes.py")
    (checkout / "tests/test_it.py").write_text("from platform.search import double\n\ndef test_it(): double(1)\n")
    # As the pytest script is: its own folder comes first on sys.path, not the current one.
    script = checkout.parent / "start_pytest.py"
    script.write_text("import sys, platform, pytest\n\nsys.exit(pytest.main())\n")
    assert "1 passed" in output_of([from_wheel.python, script], cwd=checkout)


POOL = """
import multiprocessing, sys
from platform.search import double

if __name__ == "__main__":
    with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:
        print(pool.map(double, [1, 2]))
"""


@pytest.mark.parametrize("start", ["spawn", "forkserver"])
def test_worker_processes_find_it_from_a_checkout(start: str, checkout: Path) -> None:
    (checkout / "pool.py").write_text(POOL)
    assert output_of([sys.executable, "-m", "pool", start], cwd=checkout).strip() == "[2, 4]"


@pytest.mark.parametrize("start", ["spawn", "forkserver"])
def test_worker_processes_find_it_once_installed(start: str, from_wheel: Installed, tmp_path: Path) -> None:
    (tmp_path / "pool.py").write_text(POOL.replace("search import double", "search import main as double"))
    shortened = (tmp_path / "pool.py").read_text().replace("pool.map(double, [1, 2])", "pool.apply(callable, [double])")
    (tmp_path / "pool.py").write_text(shortened)
    assert output_of([from_wheel.python, "-m", "pool", start], cwd=tmp_path).strip() == "True"


def test_it_passes_the_standard_librarys_own_tests(from_wheel: Installed, tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", "import test.test_platform"], env=CLEAN, capture_output=True, check=False
    )
    if found.returncode:
        pytest.skip("this Python comes without the standard library's tests")
    for python, cwd in ((Path(sys.executable), ROOT), (from_wheel.python, tmp_path)):
        assert "SUCCESS" in output_of([python, "-m", "test", "test_platform"], cwd=cwd)


RAY = """
import ray

@ray.remote
def where():
    import platform, platform.search
    return platform.system(), platform.search.__file__

ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
print(*ray.get(where.remote()))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give Ray a network of its own")
@pytest.mark.skipif(not (shutil.which("unshare") and shutil.which("ip")), reason="needs unshare and ip")
def test_a_ray_worker_finds_it_once_installed(from_wheel: Installed, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(RAY)
    # A network and processes of its own: nothing listens outside, and nothing is left behind.
    alone = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]
    command = f"ip link set lo up && exec {from_wheel.python} script.py"
    # Ray's sockets lie under its folder, and the path of a socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ray-") as short:
        printed = output_of([*alone, command], cwd=tmp_path, RAY_TMPDIR=short).split()
    assert printed[-1] == str(from_wheel.site_packages / "platform/search.py")
