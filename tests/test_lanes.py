"""The unit lane takes what starts no process and does not import Ray, and holds its tests to that."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = """
import subprocess
import sys

import pytest

START = [sys.executable, "-c", ""]


def run():
    subprocess.run(START)


class Server:
    def start(self):
        run()


@pytest.fixture
def server():
    Server().start()


@pytest.fixture
def beside_server(server):
    pass


def test_alone():
    pass


def test_starts():
    run()


def test_starts_in_a_fixture(beside_server):
    pass


@pytest.mark.integration
def test_marked():
    pass


def test_hides_a_start():
    sys.modules["subprocess"].run(START)


def test_hides_ray():
    __import__("ray")
"""


def test_a_unit_test_starts_no_process_and_does_not_import_ray(tmp_path: Path) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "test_all.py").write_text(TESTS)
    (folder / "test_ray.py").write_text("import ray\n\n\ndef test_alone():\n    pass\n")
    words = ["--unit", "-p", "tests.lanes", "--config-file", ROOT / "pyproject.toml", "--rootdir", tmp_path, "-rA"]
    command = [sys.executable, "-m", "pytest", *words, "-p", "no:cacheprovider", folder]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    results = [line for line in ran.stdout.splitlines() if line.startswith(("PASSED", "FAILED", "SKIPPED"))]
    names = [result.partition("::")[2].partition(" ")[0] or result.rpartition(": ")[2] for result in results]
    assert names == ["test_alone", "imports Ray", "test_hides_a_start", "test_hides_ray"]
    assert "Failed: a unit test starts a process (subprocess.Popen): mark it `integration`" in ran.stdout
    assert "Failed: a unit test imports Ray: mark it `integration`" in ran.stdout
    assert "3 deselected" in ran.stdout
