"""What the tests of deploy/ read its files with."""

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SCHEMAS = Path(__file__).parent / "schemas"


def installed(tool: str) -> str:
    """Return the path of a linter that is installed with the project; skip the test where it has no build."""
    path = shutil.which(tool, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    return path or pytest.skip(f"{tool} is not installed: it has no build for this kind of processor")


def from_yaml(path: str) -> Any:
    """A file of deploy/ with one document."""
    return yaml.safe_load((DEPLOY / path).read_text())


def schema(name: str) -> dict[str, Any]:
    """Return a schema from this folder."""
    loaded: dict[str, Any] = json.loads((SCHEMAS / name).read_text())
    return loaded


def without_unknown(part: Any) -> Any:
    """A schema of Kubernetes that refuses unknown fields, as its server does with `--validate=strict`."""
    if isinstance(part, list):
        return [without_unknown(each) for each in part]
    if not isinstance(part, dict):
        return part
    strict = {key: without_unknown(value) for key, value in part.items()}
    open_to_all = part.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in part
    if part.get("type") == "object" and isinstance(part.get("properties"), dict) and not open_to_all:
        strict["additionalProperties"] = False
    return strict


def instructions(name: str) -> list[tuple[str, str]]:
    """(instruction, what it says) of a Dockerfile, in order; continued lines are one."""
    text = (DEPLOY / "docker" / name).read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    words = [line.split(maxsplit=1) for line in joined if line.strip()]
    return [(instruction, " ".join(said.split())) for instruction, said in words]


def options_of(command: list[str]) -> dict[str, str]:
    """The options of a command in its words: `--name=value` and `--name value`; those without a value are empty."""
    found: dict[str, str] = {}
    for word, following in zip(command, [*command[1:], "--"], strict=True):
        if word.startswith("--"):
            name, sign, value = word.partition("=")
            found[name] = value if sign or following.startswith("-") else following
    return found
