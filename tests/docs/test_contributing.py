"""CONTRIBUTING.md names files, registries, make targets and markers that exist."""

import re
import tomllib

from tests.docs.definitions import ROOT, missing_references

PAGE = ROOT / "CONTRIBUTING.md"
TEXT = PAGE.read_text()


def test_every_registry_that_is_named_exists() -> None:
    assert missing_references(PAGE) == []


def test_every_path_that_is_named_exists() -> None:
    named = re.findall(r"`((?:[\w.]+/)+[\w.]*)(?::\w+)?`", TEXT)
    assert len(named) > 30
    assert [path for path in named if "NAME" not in path and not (ROOT / path).exists()] == []


def test_every_make_target_is_explained_and_exists() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"\bmake ([\w-]+)[`\s]", TEXT)) == targets - {"search"}


def test_every_marker_is_explained() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    markers = {marker.partition(":")[0] for marker in settings["tool"]["pytest"]["ini_options"]["markers"]}
    assert set(re.findall(r"^\| `(\w+)` \|", TEXT, re.M)) == markers
