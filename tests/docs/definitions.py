"""References to the code in pages, written as `path/to/file.py:name`, and the definitions that they name."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
REFERENCE = re.compile(r"`([\w/]+\.py):([\w.]+)`")


def missing_references(page: Path) -> list[str]:
    """Return a message for each reference of a page whose file or name does not exist."""
    lines = enumerate(page.read_text().splitlines(), start=1)
    found = [(number, file, name) for number, line in lines for file, name in REFERENCE.findall(line)]
    return [
        f"{page.relative_to(ROOT)}:{number}: {file} defines no {name}"
        for number, file, name in found
        if definition(file, name) is None
    ]


def definition(file: str, name: str) -> ast.stmt | None:
    """Return the function, class, method or assignment called `name` (`Class.method` for a method), or None."""
    body = _statements(file)
    *classes, last = name.split(".")
    for part in classes:
        scope = next((node for node in body if isinstance(node, ast.ClassDef) and node.name == part), None)
        body = scope.body if scope else []
    return next((node for node in body if last in _defined(node)), None)


@cache
def _statements(file: str) -> list[ast.stmt]:
    """Return the statements of a module; none if there is no such file."""
    path = ROOT / file
    return ast.parse(path.read_text()).body if path.is_file() else []


def _defined(node: ast.stmt) -> set[str]:
    """Return the names that a statement defines."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}
