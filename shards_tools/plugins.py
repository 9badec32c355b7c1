"""Code of the user's own: files and modules given with `--import`, and installed ones of the group `sakuga.plugins`.

They run only because the user named or installed them. Each one's hash goes into every checkpoint.
"""

import hashlib
import importlib
import importlib.util
import sys
import textwrap
import traceback
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from shards_tools.errors import Error

GROUP = "sakuga.plugins"

_hashes: dict[str, str] = {}


def add_import_option(parser: ArgumentParser) -> None:
    """Give a command the option `--import`, stored as `imports`."""
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="FILE.py|MODULE",
        help="code of yours that registers losses, backbones, recipes or sources; repeatable",
    )


def load_plugins(imports: Sequence[str] = ()) -> None:
    """Import the user's files and modules, and every installed plugin; one that is imported already stays as it is.

    Args:
        imports: paths of Python files, or names of modules.

    Raises:
        Error: an import failed; the message names the file, the line and the exception.
    """
    for point in entry_points(group=GROUP):
        _load(point.module, lambda module=point.module: importlib.import_module(module))  # type: ignore[misc]
    for name in imports:
        if name.endswith(".py") or "/" in name:
            file = Path(name).absolute()
            if not file.is_file():
                raise Error(f"--import {name}: there is no such file. Check the path.")
            _load(str(file), lambda file=file: _run_file(file))  # type: ignore[misc]
        else:
            _load(name, lambda name=name: importlib.import_module(name))  # type: ignore[misc]


def plugin_hashes() -> dict[str, str]:
    """Return the SHA-256 of the code of every plugin by its name: a file's absolute path, or a module's name."""
    return dict(_hashes)


def changed_plugins(recorded: Mapping[str, str]) -> list[str]:
    """Return the recorded plugins whose code is loaded now in another version.

    Args:
        recorded: an earlier result of `plugin_hashes`. A file may have moved: its base name identifies it.
    """
    now = {Path(name).name: code for name, code in _hashes.items()}
    return [
        name
        for name, code in recorded.items()
        if code not in _hashes.values() and now.get(Path(name).name, code) != code
    ]


def _load(name: str, load: Callable[[], ModuleType]) -> None:
    if name in _hashes:
        return
    try:
        module = load()
    except Exception as failure:
        raise Error(_explanation(name, failure)) from failure
    _hashes[name] = _hash(module)


def _run_file(file: Path) -> ModuleType:
    """Run a file as a module of its own, which `sys.modules` knows by the file's path."""
    name = f"sakuga_plugin_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _hash(module: ModuleType) -> str:
    """Return the SHA-256 of the module's file, or of all Python files of a package."""
    assert module.__file__ is not None or hasattr(module, "__path__")
    if module.__file__ is not None and not hasattr(module, "__path__"):
        return hashlib.sha256(Path(module.__file__).read_bytes()).hexdigest()
    whole = hashlib.sha256()
    for folder in map(Path, module.__path__):
        for file in sorted(folder.rglob("*.py")):
            whole.update(f"{file.relative_to(folder)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()


def _explanation(name: str, failure: Exception) -> str:
    """Return one line that names the place in the user's code and the exception."""
    if isinstance(failure, ModuleNotFoundError) and failure.name == name.partition(".")[0]:
        return f"--import {name}: there is no module of that name. Name a file as FILE.py, or an installed module."
    if isinstance(failure, SyntaxError):
        file, line = str(failure.filename), failure.lineno
    else:
        frames = [
            frame
            for frame in traceback.extract_tb(failure.__traceback__)
            if not frame.filename.startswith("<frozen") and frame.filename != __file__
        ]
        nearest = next((frame for frame in reversed(frames) if frame.filename == name), frames[-1] if frames else None)
        file, line = (nearest.filename, nearest.lineno) if nearest else (name, None)
    place = f"line {line}" if file == name else f"{file}, line {line}"
    said = str(failure) if isinstance(failure, Error) else f"{type(failure).__name__}: {failure}"
    reason = textwrap.shorten(" ".join(said.split()), 200)
    return f"--import {name} failed in {place}: {reason}"
