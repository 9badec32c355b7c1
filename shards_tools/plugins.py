"""Code of the user's own: files and modules given with `--import`, and installed ones of the group `sakuga.plugins`.

They run only because the user named or installed them. Each one's hash goes into the study and into every checkpoint.
Other processes get the source of a file from the process that read it, so that all run the same version.
"""

import hashlib
import importlib
import linecache
import sys
import traceback
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from shards_tools.errors import Error, reason_of
from shards_tools.registry import Registry

GROUP = "sakuga.plugins"
COPIED_FILES = "user_files"  # the folder of a cluster's job that the user's files are copied into

_hashes: dict[str, str] = {}
_sources: dict[str, str] = {}  # of files
_accepts_changes = False


def add_import_option(parser: ArgumentParser) -> None:
    """Give a command the option `--import`, stored as `import_`."""
    parser.add_argument(
        "--import",
        dest="import_",
        action="append",
        default=[],
        metavar="FILE.py|MODULE",
        help="your own code, which registers losses, backbones, recipes or sources; repeatable",
    )


def add_code_options(parser: ArgumentParser) -> None:
    """Give a command that reads checkpoints the options `--import` and `--accept-changed-code`."""
    add_import_option(parser)
    parser.add_argument(
        "--accept-changed-code",
        action="store_true",
        help="accept that the code of --import has changed since a checkpoint or a study was made",
    )


def load_plugins(imports: Sequence[str] = (), *, accept_changed_code: bool = False) -> tuple[str, ...]:
    """Import the user's files and modules, and every installed plugin, each once per process.

    Args:
        imports: paths of Python files, or names of modules.
        accept_changed_code: whether studies and checkpoints may have been made with another version of this code.

    Returns:
        Their names: a file's absolute path, or a module's name.

    Raises:
        Error: an import failed, or a file has changed since this process imported it; the message names the file, and
            for an import the line and the exception.
    """
    global _accepts_changes
    _accepts_changes = accept_changed_code
    names = [point.module for point in entry_points(group=GROUP)]
    for name in imports:
        if name.endswith(".py") or "/" in name:
            file = Path(name).absolute()
            if not file.is_file():
                raise Error(f"--import {name}: there is no such file. Check the path.")
            names.append(str(file))
        else:
            names.append(name)
    for name in names:
        _load(name, None if not name.endswith(".py") else _read(Path(name)))
    return tuple(dict.fromkeys(names))


def load_space_file(file: Path) -> ModuleType:
    """Run a file that defines a search space; if it registers something, it is a plugin too.

    Raises:
        Exception: whatever the file raises.
    """
    source, before = _read(file), Registry.num_registered
    module = _run(str(file.absolute()), source)
    if Registry.num_registered > before:
        _record(str(file.absolute()), module, source)
    return module


def accepts_changed_code() -> bool:
    """Return whether the code may differ from the recorded one."""
    return _accepts_changes


def is_plugin(file: object) -> bool:
    """Return whether this path is a file that was loaded as a plugin."""
    return isinstance(file, str) and str(Path(file).absolute()) in _hashes


def shipped_plugins(names: Sequence[str]) -> list[dict[str, str | None]]:
    """Return what another process needs to load the same version of these plugins; see `load_shipped`."""
    return [{"name": name, "source": _sources.get(name)} for name in names]


def load_shipped(plugins: Sequence[Mapping[str, str | None]], *, accept_changed_code: bool) -> None:
    """Load plugins that another process has shipped: files from their source, modules by their name.

    Args:
        plugins: what `shipped_plugins` returned.
        accept_changed_code: as of `load_plugins`.

    Raises:
        Error: an import failed.
    """
    global _accepts_changes
    _accepts_changes = accept_changed_code
    for plugin in plugins:
        assert plugin["name"]
        _load(plugin["name"], plugin["source"])


def plugin_hashes(names: Sequence[str] | None = None) -> dict[str, str]:
    """Return the SHA-256 of the code of plugins by their names: a file's absolute path, or a module's name.

    Args:
        names: of loaded plugins; None: all.
    """
    return {name: _hashes[name] for name in (_hashes if names is None else names)}


def changed_plugins(recorded: Mapping[str, str]) -> list[str]:
    """Return the recorded plugins whose code is loaded now in another version, unless changes are accepted.

    Args:
        recorded: an earlier result of `plugin_hashes`. A file may have moved: its base name identifies it.
    """
    if _accepts_changes:
        return []
    now = {Path(name).name: code for name, code in _hashes.items()}
    return [
        name
        for name, code in recorded.items()
        if code not in _hashes.values() and now.get(Path(name).name, code) != code
    ]


def loaded_plugins(recorded: Mapping[str, str]) -> list[str]:
    """Return the names under which recorded plugins are loaded now, because a file may have moved.

    Args:
        recorded: an earlier result of `plugin_hashes`.
    """
    by_code = {code: name for name, code in _hashes.items()}
    by_file = {Path(name).name: name for name in _hashes}
    return [by_code.get(code) or by_file.get(Path(name).name, name) for name, code in recorded.items()]


def shown_name(name: str) -> str:
    """Return a plugin's name for a message: of a file that was copied to a cluster, what the user called it."""
    return Path(name).name if Path(name).parent.name == COPIED_FILES else name


def _load(name: str, source: str | None) -> None:
    """Load a plugin unless it is loaded already: a file from its source, a module by its name."""
    if name in _hashes:
        if source is not None and _sources.get(name) != source:
            raise Error(f"--import {name} has changed since this process imported it. Start a new process.")
        return
    try:
        module = importlib.import_module(name) if source is None else _run(name, source)
    except Exception as failure:
        raise Error(_explanation(name, failure)) from failure
    _record(name, module, source)


def _record(name: str, module: ModuleType, source: str | None) -> None:
    if source is None:
        _hashes[name] = _hash(module)
    else:
        _hashes[name], _sources[name] = hashlib.sha256(source.encode()).hexdigest(), source


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode()
    except UnicodeDecodeError as failure:
        raise Error(f"{file} is not in UTF-8 ({failure.reason}). Save it as UTF-8.") from None


def _run(path: str, source: str) -> ModuleType:
    """Run a file's source as a module of its own, which `sys.modules` knows and which can import its neighbors."""
    name = f"sakuga_plugin_{Path(path).stem}_{hashlib.sha256(path.encode()).hexdigest()[:8]}"
    module = ModuleType(name)
    module.__file__ = path
    linecache.cache[path] = (len(source), None, source.splitlines(keepends=True), path)  # for tracebacks
    sys.modules[name] = module
    # As for a script, but behind installed packages: a neighbor's name must not replace one of theirs.
    if (folder := str(Path(path).parent)) not in sys.path:
        sys.path.append(folder)
    try:
        exec(compile(source, path, "exec"), module.__dict__)
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
    return f"--import {name} failed in {place}: {reason_of(failure)}"
