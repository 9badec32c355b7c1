"""The graph of the project's imports, as import-linter and grimp see it."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import grimp

import platform

ROOT = Path(__file__).parents[1]
PACKAGES = ("platform", "trainables", "search_spaces", "shards_tools")


@contextmanager
def findable_platform() -> Iterator[None]:
    """Let grimp see `platform` as a package: it takes on the origin of the standard module, which is a single file."""
    spec = platform.__spec__
    assert spec is not None
    before = spec.origin
    spec.origin = str(ROOT / "platform" / "__init__.py")
    try:
        yield
    finally:
        spec.origin = before


@cache
def imported_packages() -> set[tuple[str, str]]:
    """Return (importer, imported) for packages of ours, without the commands that nothing imports."""
    with findable_platform():
        graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    found = set()
    for module in graph.modules - {"search_spaces.__main__"}:
        package = module.partition(".")[0]
        found |= {(package, other.partition(".")[0]) for other in graph.find_modules_directly_imported_by(module)}
    return {(importer, imported) for importer, imported in found if importer != imported}
