"""Imports point down only: every arrow of the design, and no other."""

import ast
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TypeGuard

import pytest

ROOT = Path(__file__).parents[1]

# package -> what of ours it may import, itself aside
ARROWS = {
    "platform": {"trainables", "search_spaces", "shards_tools"},
    "trainables": {"shards_tools"},
    "shards_tools": set(),
    "search_spaces": set(),
}
# package -> what of others it may import, the standard library aside; None: anything
OTHERS = {
    "platform": None,
    "trainables": {
        "huggingface_hub",
        "numpy",
        "psutil",
        "pytorch_metric_learning",
        "safetensors",
        "simplejpeg",
        "timm",
        "tokenizers",
        "torch",
        "torchvision",
        "tqdm",
    },
    "shards_tools": {"PIL", "gcsfs", "numpy", "psutil", "s3fs", "simplejpeg", "tqdm", "urllib3", "webdataset"},
    "search_spaces": set(),
}
# A file that may import what the rest of its package may not.
EXCEPTIONS = {
    "trainables/ray_trial.py": {"ray"},
    "search_spaces/__main__.py": {"platform", "shards_tools"},  # a command, which nothing imports
}

# The standard module is called like our package; outside it nobody needs either.
STANDARD = sys.stdlib_module_names - {"platform"}


def imported_modules(source: str, package: str) -> Iterator[tuple[int, str]]:
    """(line, first part of the name) of every import, those inside functions included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, package if node.level else (node.module or "").partition(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            yield from ((node.lineno, str(name.value).partition(".")[0]) for name in node.args[:1] if is_text(name))


def is_text(node: ast.expr) -> TypeGuard[ast.Constant]:
    """Whether the expression is a string written out."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def arrows_not_drawn(source: str, file: str) -> list[str]:
    """The imports of a file that the design does not draw."""
    package = file.partition("/")[0]
    others = OTHERS[package]
    allowed = {package} | ARROWS[package] | EXCEPTIONS.get(file, set()) | (others or set())
    return [
        f"{file}:{line} imports {name}"
        for line, name in imported_modules(source, package)
        if name not in STANDARD | allowed and (name in ARROWS or others is not None)
    ]


@pytest.mark.parametrize("package", ARROWS)
def test_a_package_imports_only_what_the_design_draws(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = [arrow for file in files for arrow in arrows_not_drawn(file.read_text(), str(file.relative_to(ROOT)))]
    assert wrong == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("trainables/loop.py", "def train():\n    from platform.study import open_study"),
        ("trainables/loop.py", "import platform"),
        ("trainables/loop.py", "import ray"),
        ("trainables/loop.py", "from optuna import Trial"),
        ("trainables/ray_trial.py", "import mlflow.client"),
        ("trainables/loop.py", "import importlib\nimportlib.import_module('search_spaces.transreid')"),
        ("shards_tools/batch_samplers/full.py", "import trainables.loop"),
        ("shards_tools/batch_samplers/full.py", "import torch"),
        ("search_spaces/agw.py", "from shards_tools.errors import Error"),
        ("search_spaces/agw.py", "import numpy"),
        ("search_spaces/agw.py", "if False:\n    import optuna"),
    ],
)
def test_an_arrow_that_is_not_drawn_is_found(file: str, source: str) -> None:
    assert len(arrows_not_drawn(source, file)) == 1


def test_drawn_arrows_pass() -> None:
    assert arrows_not_drawn("import ray\nfrom shards_tools import plans\nimport json", "trainables/ray_trial.py") == []
    assert arrows_not_drawn("import mlflow, optuna, ray\nfrom platform.study import x", "platform/search.py") == []
    assert arrows_not_drawn("import math\nfrom . import transreid", "search_spaces/agw.py") == []


def imported_parts(file: Path) -> set[str]:
    """The folders, and single files, of `platform/` that a file needs when it runs, its own aside."""
    tree = ast.parse(file.read_text())
    for_types = {
        node
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    parts = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node not in for_types:
            package, _, module = (node.module or "").partition(".")
            if package == "platform":
                parts |= {module.partition(".")[0]} if module else {alias.name for alias in node.names}
    return parts - {part_of(file)}


def part_of(file: Path) -> str:
    return file.relative_to(ROOT / "platform").parts[0].removesuffix(".py")


def test_no_two_folders_of_platform_import_each_other() -> None:
    needed: dict[str, set[str]] = {}
    for file in (ROOT / "platform").rglob("*.py"):
        needed.setdefault(part_of(file), set()).update(imported_parts(file))
    assert "tracking" in needed["trials"]
    TopologicalSorter(needed).prepare()  # raises where they form a circle
