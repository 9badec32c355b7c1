"""The text on a terminal after a program has written to it; handles the control sequences of a live display."""

import re

CONTROL = re.compile(r"\x1b\[(\?25[hl])|\x1b\[(\d*)(A|K)|\x1b\[[\d;]*m|\r|\n|[^\x1b\r\n]+")


class SmallTerminal:
    """Lines as people read them, those that have scrolled away among them, and whether the cursor is seen."""

    def __init__(self) -> None:
        self.lines, self.cursor_is_shown, self.cursor_was_hidden = [""], True, False
        self._row = self._column = 0

    def feed(self, written: str) -> None:
        """Take in what a program writes; a sequence that is not known is an error."""
        place = 0
        while place < len(written):
            match = CONTROL.match(written, place)
            assert match, f"unknown: {written[place : place + 20]!r}"
            place = match.end()
            self._do(match)

    def _do(self, match: re.Match[str]) -> None:
        cursor, number, command = match.groups()
        if cursor:
            self.cursor_is_shown = cursor == "?25h"
            self.cursor_was_hidden |= not self.cursor_is_shown
        elif command == "A":
            self._row -= int(number or 1)
            assert self._row >= 0
        elif command == "K":
            assert number == "2"
            self.lines[self._row] = ""
        elif match[0] == "\r":
            self._column = 0
        elif match[0] == "\n":  # a terminal's driver adds the return of the carriage
            self._row, self._column = self._row + 1, 0
            if self._row == len(self.lines):
                self.lines.append("")
        elif not match[0].startswith("\x1b"):
            line = self.lines[self._row].ljust(self._column)
            self.lines[self._row] = line[: self._column] + match[0] + line[self._column + len(match[0]) :]
            self._column += len(match[0])

    @property
    def text(self) -> str:
        """All lines, without what is blank at their ends and at the end."""
        return "\n".join(line.rstrip() for line in self.lines).rstrip()
