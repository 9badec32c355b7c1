"""The rules of the house that a machine can check: sizes, names, docstrings, nothing left for later."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("platform", "trainables", "search_spaces", "shards_tools")
FOLDERS = (*PACKAGES, "benchmarks", "tests")
SOURCES = [file.relative_to(ROOT) for folder in PACKAGES for file in sorted((ROOT / folder).rglob("*.py"))]
FILES = [file.relative_to(ROOT) for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py"))]
FILES += [Path("_platform_path.py"), Path("conftest.py")]

# 250 and 40 are what we aim at; these are where a test says no.
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60
EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "misc", "manager", "base"}

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def definitions(file: Path) -> list[Definition]:
    """Functions and classes at the top of a module."""
    return [node for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, Definition)]


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_file_fits_its_one_purpose(file: Path) -> None:
    text = (ROOT / file).read_text()
    assert len(text.splitlines()) <= MAX_FILE_LINES
    assert not EMPTY_NAMES & set(file.with_suffix("").parts), "a name that says nothing"
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = [node.name for node in functions if (node.end_lineno or 0) - node.lineno + 1 > MAX_FUNCTION_LINES]
    assert long == []


@pytest.mark.parametrize("file", SOURCES, ids=str)
def test_what_is_public_says_what_it_is_in_a_sentence(file: Path) -> None:
    module = ast.parse((ROOT / file).read_text())
    public = [node for node in definitions(file) if not node.name.startswith("_")]
    firsts = {
        node.name if isinstance(node, Definition) else "the module": (ast.get_docstring(node) or "").partition("\n")[0]
        for node in (module, *public)
    }
    assert [name for name, first in firsts.items() if not re.search(r"[.:?!]$", first)] == []


def test_nothing_is_left_for_later() -> None:
    marks = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    assert [str(file) for file in FILES if marks.search((ROOT / file).read_text())] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_file_holds_a_docstring_and_at_most_a_registry(package: str) -> None:
    for file in (ROOT / package).rglob("__init__.py"):
        assert len(file.read_text().splitlines()) <= 60, f"{file.relative_to(ROOT)} does more than register"


def test_every_test_that_the_docs_name_is_there() -> None:
    named = {name for file in (ROOT / "docs").rglob("*.md") for name in re.findall(r"::(test_\w+)", file.read_text())}
    known = {
        name
        for file in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(), re.M)
    }
    assert named
    assert named - known == set()
