"""The Python of `docs/guide/python.md` runs as it stands, from top to bottom."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "python.md"


@pytest.mark.slow
def test_the_guide_runs_as_written(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    assert len(blocks) == 5
    script = tmp_path / "guide.py"
    script.write_text("\n".join(blocks))
    environment = {**os.environ, "PYTHONPATH": str(GUIDE.parents[2])}
    result = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900
    )
    assert result.returncode == 0, result.stderr
    printed = result.stdout.splitlines()
    assert float(printed[-2].split()[0]) == pytest.approx(float(printed[0].split()[0]), abs=1e-6)
    assert "Did you mean 'transreid'?" in printed[-1]
