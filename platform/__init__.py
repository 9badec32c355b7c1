"""The standard library's ``platform`` module, with this folder as its ``__path__``.

A folder named ``platform`` on ``sys.path`` hides the standard module, which torch, Ray and pip's build tools import. So
this file becomes that module: it runs the standard code in its own namespace and takes over its origin. Nothing of the
project may be defined here; it lives in the submodules. See ``_platform_path.py`` for processes that never reach this
file.
"""


def _become_standard(namespace, spec):
    import os
    from importlib.machinery import PathFinder

    # Next to os.py instead of sysconfig.get_path("stdlib"): this also works for a zipped library.
    standard = PathFinder.find_spec("platform", [os.path.dirname(os.__file__)])
    if standard is None:
        raise ImportError(f"no standard platform module next to {os.__file__}", name="platform")
    spec.loader, spec.origin, spec.cached = standard.loader, standard.origin, standard.cached
    namespace.update(__loader__=spec.loader, __file__=spec.origin, __cached__=spec.cached)
    del namespace["_become_standard"]
    exec(standard.loader.get_code("platform"), namespace)


_become_standard(globals(), __spec__)
