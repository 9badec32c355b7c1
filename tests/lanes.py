"""The lane of unit tests, which start no process and do not import Ray: marks the others, and guards the promise.

A test is an integration test if it is marked as one, or if it, a fixture of it, or a function of the tests that these
call names a module that starts processes or trains. With `--unit`, only unit tests run, and files that import Ray are
skipped; a unit test that starts a process or imports Ray fails.
"""

import dis
import inspect
import sys
from collections.abc import Sequence
from functools import cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

# Modules that start processes, or train.
HEAVY = ("subprocess", "trainables.training.loop", "trainables.run_recipe", "trainables.train")
STARTING_EVENTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system"}
OTHER_LANES = ("integration", "slow", "cluster", "gpu")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--unit", action="store_true", help="run the unit tests: no process, no Ray")


class NoRay:
    """A finder that lets nobody find Ray."""

    is_collecting = True

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if name == "ray":
            if self.is_collecting:
                pytest.skip("imports Ray", allow_module_level=True)
            pytest.fail("a unit test imports Ray: mark it `integration`")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("unit"):
        config.pluginmanager.register(Guard())


class Guard:
    """Fails unit tests that start a process or import Ray."""

    def __init__(self) -> None:
        self._finder = NoRay()
        sys.meta_path.insert(0, self._finder)
        sys.addaudithook(self._watch)

    def _watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._finder.is_collecting and event in STARTING_EVENTS:
            pytest.fail(f"a unit test starts a process ({event}): mark it `integration`")

    def pytest_collection_finish(self) -> None:
        self._finder.is_collecting = False

    def pytest_sessionfinish(self) -> None:
        self._finder.is_collecting = True


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and starts_processes(item):
            item.add_marker("integration")
    if config.getoption("unit"):
        config.hook.pytest_deselected(items=[item for item in items if not is_unit(item)])
        items[:] = [item for item in items if is_unit(item)]


def is_unit(item: pytest.Item) -> bool:
    """Return whether a test has none of the markers of the other lanes."""
    return not any(item.get_closest_marker(lane) for lane in OTHER_LANES)


def starts_processes(item: pytest.Function) -> bool:
    """Return whether a test, or a fixture of it, names what starts a process, directly or through other functions."""
    fixtures = [found.func for name in item.fixturenames for found in item._fixtureinfo.name2fixturedefs.get(name, ())]
    waiting: list[Any] = [item.function, *fixtures]
    seen: set[int] = set()
    while waiting:
        function = inspect.unwrap(waiting.pop())
        if not isinstance(function, FunctionType) or id(function) in seen:
            continue
        seen.add(id(function))
        for value in (function.__globals__.get(name) for name in names_in(function.__code__)):
            place = value.__name__ if isinstance(value, ModuleType) else str(getattr(value, "__module__", ""))
            if place in HEAVY:
                return True
            if place.startswith("tests."):
                waiting += vars(value).values() if isinstance(value, type) else [value]
    return False


@cache
def names_in(code: CodeType) -> set[str]:
    """Return the global names that a function and the functions inside of it load."""
    own = {step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}
    return own.union(*(names_in(value) for value in code.co_consts if isinstance(value, CodeType)))
