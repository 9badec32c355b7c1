"""Sizes and habits of the code at git revisions, side by side: the working tree, or those that are named.

    python benchmarks/codebase.py 9cd86c0 HEAD

A function is public if neither its name nor that of its class starts with an underscore, and it is not inside of
another function. It should have `Args:` if it has four parameters or more besides `self` and `cls`: fewer are explained
by their names and types. It should have `Raises:` if it raises an `Error` or what `unknown` returns. A key of
`user_attrs` is counted where it is read, tested, set or passed outside of `platform/trial_record.py`.
"""

import ast
import io
import subprocess
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shards_tools.command import Parser

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("platform", "trainables", "shards_tools", "search_spaces")
SHORT_LINES = 40
MANY_PARAMETERS = 4
WORKING_TREE = "working tree"

Function = ast.FunctionDef | ast.AsyncFunctionDef


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = Parser(prog="python benchmarks/codebase.py", description=__doc__)
    parser.add_argument("revisions", nargs="*", metavar="REVISION", help="of git; without any, the working tree")
    revisions = parser.parse_args(arguments).revisions or [WORKING_TREE]
    columns = [numbers_at(revision) for revision in revisions]
    width = max(map(len, columns[0]))
    print("".ljust(width), *(revision.rjust(14) for revision in revisions))
    for name in columns[0]:
        print(name.ljust(width), *(column[name].rjust(14) for column in columns))


def numbers_at(revision: str) -> dict[str, str]:
    """Return the numbers of a revision, or of the working tree, by their names."""
    if revision == WORKING_TREE:
        return numbers(ROOT)
    command = ["git", "archive", revision, "pyproject.toml", *PACKAGES]
    archive = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
        return numbers(Path(folder))


@dataclass(frozen=True)
class Module:
    """A source file."""

    path: Path  # relative to the root
    num_lines: int
    tree: ast.Module


def numbers(root: Path) -> dict[str, str]:
    """Return the numbers of the code below `root`, by their names."""
    modules = []
    for path in sorted(file for package in PACKAGES for file in (root / package).rglob("*.py")):
        text = path.read_text()
        modules.append(Module(path.relative_to(root), len(text.splitlines()), ast.parse(text)))
    lines = {name: sum(one.num_lines for one in modules if one.path.parts[0] == name) for name in PACKAGES}
    short = [one for one in modules if one.num_lines <= SHORT_LINES and one.path.name != "__init__.py"]
    nodes = [node for module in modules for node in ast.walk(module.tree)]
    parameters = [name for node in nodes if isinstance(node, Function) for name in parameters_of(node)]
    record = Path("platform/trial_record.py")
    keys = [key for one in modules if one.path != record for key in keys_of_attributes(one.tree)]
    public = [function for module in modules for function in public_functions(module.tree)]
    many = [function for function in public if len(parameters_of(function)) >= MANY_PARAMETERS]
    raising = [function for function in public if raises_error(function)]
    project = tomllib.loads((root / "pyproject.toml").read_text())
    contracts = project["tool"].get("importlinter", {}).get("contracts", [])
    return {
        **{f"lines of {name}": f"{count:,}" for name, count in lines.items()},
        "lines": f"{sum(lines.values()):,}",
        "modules": str(len(modules)),
        f"modules of at most {SHORT_LINES} lines, __init__ aside": str(len(short)),
        "parameters called config": str(parameters.count("config")),
        "parameters called plan": str(parameters.count("plan")),
        "uses of a key of user_attrs outside of trial_record.py": str(len(keys)),
        "keys of user_attrs used outside of trial_record.py": str(len(set(keys))),
        "contracts of import-linter": str(len(contracts)),
        "public functions": str(len(public)),
        f"with {MANY_PARAMETERS} parameters or more: have Args:": share(many, "Args:"),
        "that raise Error: have Raises:": share(raising, "Raises:"),
        "public functions with Returns:": share(public, "Returns:"),
    }


def parameters_of(function: Function) -> list[str]:
    """Return the names of a function's parameters, without those that Python passes."""
    given = function.args
    every = [*given.posonlyargs, *given.args, *filter(None, [given.vararg]), *given.kwonlyargs]
    return [one.arg for one in [*every, *filter(None, [given.kwarg])] if one.arg not in ("self", "cls")]


def keys_of_attributes(tree: ast.Module) -> Iterator[str]:
    """Yield the source of every key of `user_attrs` that a module uses, once for each use."""
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(value=ast.Attribute(attr="user_attrs"), slice=key):
                yield ast.unparse(key)
            case ast.Call(func=ast.Attribute(attr="get", value=ast.Attribute(attr="user_attrs")), args=[key, *_]):
                yield ast.unparse(key)
            case ast.Call(func=ast.Attribute(attr="set_user_attr"), args=[key, *_]):
                yield ast.unparse(key)
            case ast.Compare(left=key, ops=[ast.In() | ast.NotIn()], comparators=[ast.Attribute(attr="user_attrs")]):
                yield ast.unparse(key)
            case ast.keyword(arg="user_attrs", value=ast.Dict(keys=keys)):
                yield from (ast.unparse(key) for key in keys if key)


def public_functions(place: ast.Module | ast.ClassDef) -> Iterator[Function]:
    """Yield the public functions and methods at the top of a module or a class, and of the classes in it."""
    for node in place.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node) if isinstance(node, ast.ClassDef) else [node]


def raises_error(function: Function) -> bool:
    """Return whether a function raises an Error that it makes, or one of an unknown name."""
    raised = [node.exc for node in ast.walk(function) if isinstance(node, ast.Raise)]
    return any(isinstance(made, ast.Call) and ast.unparse(made.func) in ("Error", "unknown") for made in raised)


def share(functions: Sequence[Function], section: str) -> str:
    """Return how many of the functions have a section in their docstring."""
    having = sum(section in (ast.get_docstring(function) or "").split() for function in functions)
    return f"{having} of {len(functions)}"


if __name__ == "__main__":
    main()
