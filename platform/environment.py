"""The study's record of its last start: its data, the chance level, the command and the machine."""

from __future__ import annotations

import dataclasses
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import platform as this_python
from platform.resolved_search import ResolvedSearch
from platform.resources import gpu_names
from shards_tools.redaction import redact
from trainables.evaluation.evaluation import Evaluation

PACKAGES = ("torch", "timm", "ray", "optuna", "mlflow", "numpy")  # whose versions a result may depend on


def start_of_search(search: ResolvedSearch) -> dict[str, Any]:
    """Return the study's record of this start, which reports read; each start replaces the previous record."""
    setup, protocol = search.setup, search.protocol
    tests = protocol.finalists is not None
    return {
        "command": search.command,
        "data": setup.data,
        "chance": search.goal.chance,
        "chance_by_fold": [Evaluation(setup.manifest, "val", fold).chance() for fold in range(protocol.folds)],
        "chance_test": Evaluation(setup.manifest, "test", setup.fold).chance() if tests else None,
        "gpus_per_trial": search.resources.gpus_per_trial,
        "environment": environment(),
    }


def typed_command(program: str) -> str:
    """Return this command as it was typed, without passwords; `program` is the module that `python -m` runs."""
    words = [word.partition("=") if word.startswith("--") else ("", "", word) for word in sys.argv[1:]]
    given = [f"{option}{sign}{redact(value)}" for option, sign, value in words]
    return shlex.join(["python", "-m", program, *given])


def call_of(function: str, config: Any) -> str:
    """Return the call `function(CONFIG)` as a line of Python, with the fields that differ from their defaults."""
    given = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value != field.default:
            text = redact(value) if isinstance(value, str) else value
            given.append(f"{field.name}={getattr(value, '__name__', None) or repr(text)}")
    return f"{function}({type(config).__name__}({', '.join(given)}))"


def environment() -> dict[str, str]:
    """Return the versions, the code and the machine, keyed by the names that a report shows."""
    return {
        "code": code_version(),
        "python": this_python.python_version(),
        **{package: _version(package) for package in PACKAGES},
        "system": this_python.platform(),
        "CPU": _cpu_name(),
        "GPU": ", ".join(gpu_names()) or "none",
    }


def code_version() -> str:
    """Return the commit of this checkout, with `-dirty` if files differ from it; else the installed version."""
    folder = Path(__file__).resolve().parent.parent
    if (folder / ".git").exists():
        try:
            commit = _git(folder, "rev-parse", "HEAD")
            return f"{commit}-dirty" if _git(folder, "status", "--porcelain") else commit
        except (OSError, subprocess.CalledProcessError):
            pass  # no git, or no commit yet: use the installed version
    try:
        return version("sakuga")
    except PackageNotFoundError:
        return "unknown"


def _git(folder: Path, *words: str) -> str:
    result = subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, text=True, timeout=10)
    return result.stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _cpu_name() -> str:
    """Return the kernel's name for the CPU, or the architecture if the kernel gives none."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return f"{names[0]}, {len(names)} threads" if names else this_python.machine()
