"""Names with escapes, markup and formulas are shown as they are, in every format."""

import csv
import io
import re

import pytest
from markdown_it import MarkdownIt

from shards_tools.command import print_data, say
from shards_tools.plain_text import csv_text, markdown_code, markdown_text, visible

NAMES = (
    "[red]row[/red]",
    ":smile:",
    "a|b",
    "`id`",
    "``x` y",
    "*bold* _it_ ~~no~~",
    "[link](https://evil.example)",
    "![image](https://evil.example/x.png)",
    "<script>alert(1)</script>",
    "# heading",
    "a \\| b",
    "$x^2$",
    "日本語 の 名前",
)


def plain(markdown: str) -> str:
    """The text that a reader of the page sees; a tag of HTML or a link would leave its own tags."""
    return MarkdownIt("commonmark").enable("table").render(markdown)


def shown(html: str) -> str:
    """The cell of a rendered table as text."""
    (cell,) = re.findall(r"<td>(.*?)</td>", html, re.DOTALL)
    text = re.sub(r"</?code>", "", cell)
    assert "<" not in text, f"{text} has a tag"
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_of_markdown_shows_the_name_and_nothing_else(name: str) -> None:
    table = "| name |\n|---|\n| {} |\n"
    assert shown(plain(table.format(markdown_text(name)))) == name
    assert shown(plain(table.format(markdown_code(name)))) == name


def test_control_characters_are_written_out() -> None:
    assert visible("\x1b]0;title\x07 \x9b31m \u202egnp.exe \x00") == (
        "\\x1b]0;title\\x07 \\x9b31m \\u202egnp.exe \\x00"
    )
    assert visible("two\nlines\tand a tab, 日本語, é, 🎨") == "two\nlines\tand a tab, 日本語, é, 🎨"


def test_no_line_that_is_printed_reaches_the_terminal_as_an_escape(capfd: pytest.CaptureFixture[str]) -> None:
    say("work \x1b[2J")
    print_data("work \x1b[2J")
    out, screen = capfd.readouterr()
    assert "\x1b" not in out + screen
    assert "work \\x1b[2J" in out
    assert "work \\x1b[2J" in screen


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", '=HYPERLINK("http://x")', "\t=1"])
def test_a_spreadsheet_runs_no_text_of_a_table(text: str) -> None:
    ((_, cell),) = list(csv.reader(io.StringIO(csv_text(("number", "name"), [(1, text)]))))[1:]
    assert cell == f"'{text}"


def test_numbers_and_other_texts_of_a_table_are_unchanged() -> None:
    row = (-1.5, "-1.5", "+3e-4", "a=b", "1-2", None, "x\ny", 'a "quoted", one')
    (cells,) = list(csv.reader(io.StringIO(csv_text([""] * len(row), [row]), newline="")))[1:]
    assert cells == ["-1.5", "-1.5", "+3e-4", "a=b", "1-2", "", "x\ny", 'a "quoted", one']
