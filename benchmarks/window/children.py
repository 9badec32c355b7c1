"""Child processes of the window: each runs one measurement, and its last line of output is the result.

A child is the window's own command with `--child NAME --options JSON`; CHILDREN there maps the names to functions.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.window.session import TAIL_CHARACTERS, Found, Session

ENTRY = Path(__file__).parents[1] / "gpu_window.py"
PREFIX = "CHILD "


class Child:
    """A running child."""

    def __init__(self, session: Session, measurement: str, /, **options: Any) -> None:
        self._session = session
        words = ["--child", measurement, "--options", json.dumps(options), "--root", session.root, "--out", session.out]
        self._process = subprocess.Popen(
            [sys.executable, str(ENTRY), *map(str, words), *(["--tiny"] if session.tiny else [])],
            cwd=session.root,
            env=session.environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def result(self, timeout_s: float) -> Found:
        """Wait for the child and return its measurement, or its exit code and last output if it failed."""
        code: int | str
        try:
            text, _ = self._process.communicate(timeout=self._session.patience_s(timeout_s))
            code = self._process.returncode
        except subprocess.TimeoutExpired:
            self._process.kill()
            text, _ = self._process.communicate()
            code = "timeout"
        line = re.search(rf"^{PREFIX}(.*)$", text, re.M)
        found: Found = json.loads(line[1]) if line else {"rc": code, "tail": text[-TAIL_CHARACTERS:]}
        return found


def tell(found: Found) -> None:
    """Print this child's result for its parent."""
    print(PREFIX + json.dumps(found), flush=True)
