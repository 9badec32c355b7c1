"""Gives the standard ``platform`` module a ``__path__``: the project's ``platform/`` folder.

Imported at interpreter start through ``platform_path.pth`` once the project is installed, and by ``conftest.py``: there
the standard module precedes our folder or is imported already.
"""

import os
import sys


class PlatformFinder:
    """Finds ``platform``: the standard module, its path the first ``platform/`` on ``sys.path`` that is ours."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        """The spec of ``platform`` and of nothing else."""
        if name != "platform":
            return None
        from importlib.machinery import PathFinder  # only now: keeps interpreter start cheap

        spec = PathFinder.find_spec(name, [os.path.dirname(os.__file__)])
        for entry in [*sys.path, os.path.dirname(__file__)]:
            folder = os.path.join(os.path.abspath(entry), "platform")
            if spec and os.path.isfile(os.path.join(folder, "search.py")):
                spec.submodule_search_locations = [folder]
                break
        return spec


def install():
    """Put the finder first, and give a ``platform`` that is already imported the path that it would now find."""
    if PlatformFinder not in sys.meta_path:
        sys.meta_path.insert(0, PlatformFinder)
    module = sys.modules.get("platform")
    if module is None:
        return
    spec = PlatformFinder.find_spec("platform")
    if spec and spec.submodule_search_locations:
        module.__spec__, module.__package__ = spec, "platform"
        module.__path__ = spec.submodule_search_locations


install()
