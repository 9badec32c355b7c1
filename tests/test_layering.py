"""Imports follow the contracts in pyproject.toml under `tool.importlinter`."""

import re
import shutil
from pathlib import Path

import pytest
from importlinter import cli  # noqa: F401  # configures import-linter
from importlinter.application.use_cases import lint_imports

from tests.import_graph import ROOT, findable_platform

LAYERS = 'layers = ["platform", "trainables | search_spaces", "shards_tools"]'


def is_kept(config: Path) -> bool:
    # Not through cli.lint_imports: it disables all other loggers.
    with findable_platform():
        return lint_imports(config_filename=str(config), cache_dir=None)


def test_imports_follow_the_contracts() -> None:
    assert is_kept(ROOT / "pyproject.toml")


@pytest.mark.parametrize(
    ("contract", "broken"),
    [
        (LAYERS, 'layers = ["shards_tools", "trainables | search_spaces", "platform"]'),
        ('forbidden_modules = ["ray", "optuna", "mlflow"]', 'forbidden_modules = ["torch"]'),
        ('ignore_imports = ["trainables.ray_trial -> ray"]', ""),
    ],
    ids=["layers upside down", "a library that is used", "an exception removed"],
)
def test_a_broken_contract_is_found(contract: str, broken: str, tmp_path: Path) -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert contract in text
    config = Path(shutil.copy(ROOT / "pyproject.toml", tmp_path))
    config.write_text(text.replace(contract, broken))
    assert not is_kept(config)


# Whether there is a GPU, its name and the type of an exception are no access to it.
NO_ACCESS = {"is_available", "device_count", "get_device_name", "OutOfMemoryError"}


def test_only_the_device_module_touches_a_gpu() -> None:
    found = {}
    for package in ("trainables", "platform"):
        for file in sorted((ROOT / package).rglob("*.py")):
            used = set(re.findall(r"torch\.(?:cuda|backends)\.(\w+)", file.read_text())) - NO_ACCESS
            if used:
                found[str(file.relative_to(ROOT))] = used
    assert set(found) == {"trainables/device.py"}
