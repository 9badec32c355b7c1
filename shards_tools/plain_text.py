"""Text from outside stays text in every format: names of works, files, studies and rows, and messages.

A name may hold terminal escapes, markup or a spreadsheet's formula. HTML is escaped by Jinja, and
`platform.terminal.console` turns off the markup of rich.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

# C0 and C1 control characters but tab and newline, line separators, and marks that reverse the direction of text.
INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
FORMULA = re.compile(r"[=+\-@\t\r]")  # a spreadsheet runs a cell that begins with one of these
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def visible(text: str) -> str:
    r"""Return the text with control characters written out, so that a terminal executes none.

    >>> visible("\x1b[31mred")
    '\\x1b[31mred'
    """
    return INVISIBLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table as CSV with a header; a text that is a formula to a spreadsheet starts with an apostrophe."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(_cell, row) for row in [columns, *rows])
    return text.getvalue()


def markdown_text(text: object) -> str:
    """Escape text for a line or a table cell of Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>|#$~])", r"\\\1", " ".join(visible(str(text)).split()))


def markdown_code(text: object) -> str:
    """Return text as code within a line or a table cell of Markdown."""
    line = " ".join(visible(str(text)).split()).replace("|", r"\|")
    if "`" not in line:
        return f"`{line}`"
    fence = "`" * (1 + max(map(len, re.findall("`+", line))))
    return f"{fence} {line} {fence}"


def _cell(value: Any) -> Any:
    if isinstance(value, str) and FORMULA.match(value) and not NUMBER.fullmatch(value):
        return f"'{value}"
    return value
