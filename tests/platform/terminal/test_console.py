"""Tables and the live display show names as they are."""

import io

from rich.table import Table

from platform.terminal.console import PlainConsole


def test_a_table_shows_markup_emoji_and_escapes_of_names_as_text() -> None:
    table = Table(title="Study [bold]a[/bold]")
    table.add_column("[red]x")
    table.add_row("[link=https://evil.example]row[/link] :smile: [/]")
    table.add_row("\x1b[2Jcleared")
    console = PlainConsole(file=io.StringIO(), width=100, force_terminal=False)
    console.print(table)
    text = console.file.getvalue()
    for part in ("Study [bold]a[/bold]", "[red]x", "[link=https://evil.example]row[/link] :smile: [/]", "\\x1b[2Jcl"):
        assert part in text
    assert "\x1b" not in text
