"""Lets tests import the ``platform`` package of this checkout.

pytest itself has already imported the standard module, and where another checkout is installed, with that one's path.
"""

import _platform_path

_platform_path.install()

pytest_plugins = ["tests.lanes"]
