"""The Dockerfiles: what they take into an image, as whom they run, and how they learn passwords."""

import fnmatch
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.deploy.files import DEPLOY, ROOT, installed, instructions

DOCKERFILES = sorted(file.name for file in (DEPLOY / "docker").glob("*.Dockerfile"))
WITH_SECRETS = DEPLOY / "docker/with_secrets.sh"


@pytest.mark.parametrize("name", DOCKERFILES)
def test_hadolint_finds_nothing(name: str) -> None:
    hadolint = installed("hadolint")
    result = subprocess.run([hadolint, DEPLOY / "docker" / name], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_installs_the_tested_versions_and_runs_as_a_user_with_secrets_from_files(name: str) -> None:
    said = instructions(name)
    kinds = [kind for kind, _ in said]
    assert kinds[0] == "FROM"
    assert dict(said)["FROM"].startswith("python:3.11-")  # what the constraints were tested on
    installs = [text for kind, text in said if kind == "RUN" and "pip install" in text]
    assert len(installs) == 1
    assert "--constraint constraints.txt" in installs[0]
    assert [text for kind, text in said if kind == "USER"] == ["$USER_ID"]
    assert kinds.index("USER") < kinds.index("CMD")
    assert dict(said)["ENTRYPOINT"].endswith('/with_secrets.sh"]')


@pytest.mark.parametrize("name", ["cpu.Dockerfile", "gpu.Dockerfile"])
def test_a_node_demands_tokens_unless_it_is_told_otherwise(name: str) -> None:
    assert "RAY_AUTH_MODE=token" in dict(instructions(name))["ENV"]


def allowed() -> list[str]:
    """What .dockerignore lets into an image, which begins by ignoring everything."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    return [line[1:] for line in lines if line[0] == "!"]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_whatever_is_copied_is_let_into_the_build(name: str) -> None:
    copied = [word for kind, text in instructions(name) if kind == "COPY" for word in text.split()[:-1]]
    assert copied
    assert [word for word in copied if word != "." and not any(fnmatch.fnmatch(word, line) for line in allowed())] == []


def test_what_is_let_in_is_enough_to_build_the_package(tmp_path: Path) -> None:
    for path in allowed():
        target = tmp_path / "context" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / path).is_dir():
            shutil.copytree(ROOT / path, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / path, target)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(build, cwd=tmp_path / "context", check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        assert {"platform/search.py", "trainables/ray_trial.py", "platform_path.pth"} <= set(wheel.namelist())


def with_secrets(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "SECRETS": str(folder)}
    return subprocess.run([WITH_SECRETS, *command], env=environment, capture_output=True, text=True, check=False)


def test_a_command_gets_every_secret_by_its_name_in_capitals(tmp_path: Path) -> None:
    (tmp_path / "pgpassword").write_text('with $signs \'and "quotes"\n')
    (tmp_path / "ray_auth_token").write_text("abc")
    result = with_secrets(tmp_path, "sh", "-c", 'echo "$PGPASSWORD|$RAY_AUTH_TOKEN|$0|$1"', "a b", "c")
    assert (result.returncode, result.stdout) == (0, 'with $signs \'and "quotes"|abc|a b|c\n')


def test_a_command_runs_without_secrets_where_there_are_none(tmp_path: Path) -> None:
    assert with_secrets(tmp_path / "none", "sh", "-c", "exit 7").returncode == 7


def test_an_empty_secret_is_named(tmp_path: Path) -> None:
    (tmp_path / "pgpassword").touch()
    result = with_secrets(tmp_path, "echo", "started")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"The secret {tmp_path / 'pgpassword'} is empty. Write it, or remove the file.\n"
