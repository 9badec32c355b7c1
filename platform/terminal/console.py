"""Consoles that show every string as it is: markup has no effect, and control characters are visible."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from shards_tools.plain_text import visible

WIDTH = 100  # characters, unless standard error is a terminal


class PlainConsole(Console):
    """A console without markup, emoji names and control characters in the strings of tables."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **{**options, "markup": False, "emoji": False})


def table_console() -> Console:
    """Return a console on standard error for tables."""
    console = PlainConsole(stderr=True)
    return console if console.is_terminal else PlainConsole(stderr=True, width=WIDTH)
