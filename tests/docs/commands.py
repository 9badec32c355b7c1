"""The commands that README and docs tell people to type."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
MADE = {"_build", "made"}  # by `make docs`
WRITTEN = [page for page in sorted((ROOT / "docs").rglob("*.md")) if not MADE & set(page.relative_to(ROOT).parts)]
PAGES = [ROOT / "README.md", ROOT / "deploy" / "README.md", *WRITTEN]
STARTS = ("python ", "make ", "ray ")


def commands_of(page: Path) -> list[list[str]]:
    """The words of each command in the blocks of code of a page, without comments."""
    blocks = [block for block in _blocks(page.read_text()) if block]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.strip().startswith(STARTS)]


def _blocks(text: str) -> list[str]:
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    rest = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.M | re.S)
    indented = re.findall(r"(?:^ {4}.*\n)+", rest, re.M)
    return [*fenced, *indented]


def all_commands() -> list[tuple[str, list[str]]]:
    """Each command once, with the first page that has it."""
    found: dict[tuple[str, ...], str] = {}
    for page in PAGES:
        for words in commands_of(page):
            found.setdefault(tuple(words), str(page.relative_to(ROOT)))
    return [(page, list(words)) for words, page in found.items()]
