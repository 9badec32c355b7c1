"""Commands that messages suggest can be pasted into a shell, whatever characters their words have."""

import ast
import re
import shlex
from pathlib import Path

import pytest

from shards_tools.command import command_line

ROOT = Path(__file__).parents[1]
PACKAGES = ("platform", "trainables", "shards_tools", "search_spaces")
FILES = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
WORDS = ["my runs", "a'b", 'a"b', "$HOME", "a;b", "*", "[red]", "\\", ""]


def template(text: ast.JoinedStr) -> str:
    """An f-string with `{}` for each of its values; those in capitals are fixed."""
    parts = []
    for part in text.values:
        if isinstance(part, ast.Constant):
            parts.append(str(part.value))
        else:
            assert isinstance(part, ast.FormattedValue)
            is_fixed = isinstance(part.value, ast.Name) and part.value.id.isupper()
            parts.append("FIXED" if is_fixed else "{}")
    return "".join(parts)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_command_is_put_together_without_quotes(file: Path) -> None:
    texts = [template(node) for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.JoinedStr)]
    assert [text for text in texts if re.search(r"python -m (?:(?![.:;)] ).)*\{\}", text)] == []


@pytest.mark.parametrize("word", WORDS)
def test_a_shell_reads_the_words_of_a_command_back(word: str) -> None:
    assert shlex.split(command_line("platform.ui", "--runs", word)) == ["python", "-m", "platform.ui", "--runs", word]
