"""What importing a module brings along, in a process of its own."""

import subprocess
import sys


def assert_imports_none_of(module: str, packages: set[str]) -> None:
    """Import a module, and compare what is imported then with packages that take seconds."""
    program = f"import sys\nimport {module}\nfound = {packages!r} & sys.modules.keys()\nassert not found, found\n"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
