"""The version of the code that a study ran with."""

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def code_version() -> str:
    """Return the commit of this checkout, with `-dirty` if files differ from it; else the installed version."""
    folder = Path(__file__).resolve().parent.parent
    if (folder / ".git").exists():
        try:
            commit = _git(folder, "rev-parse", "HEAD")
            return f"{commit}-dirty" if _git(folder, "status", "--porcelain") else commit
        except (OSError, subprocess.CalledProcessError):
            pass  # no git, or no commit yet: use the installed version
    try:
        return version("sakuga")
    except PackageNotFoundError:
        return "unknown"


def _git(folder: Path, *words: str) -> str:
    result = subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, text=True, timeout=10)
    return result.stdout.strip()
