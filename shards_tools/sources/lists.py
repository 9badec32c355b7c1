"""Read lists of images and labels row by row; each Error names its file and line."""

import codecs
import csv
import re
from collections.abc import Iterator
from pathlib import Path

from shards_tools.errors import Error

NUMBER = re.compile(r"\s*\d{1,18}\s*", re.ASCII)
MAX_CELL = 2**20  # characters of one cell; the longest list of tags has a few thousand


def read_rows(file: Path, num_cells: int, *, tabs: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the cells of each row of a CSV file, or of a tab-separated file without quoting.

    Empty lines are skipped; a row without exactly `num_cells` cells is an Error.

    Raises:
        Error: the file cannot be read or is not valid, or a row has another number of cells.
    """
    for line, row in read_any_rows(file, tabs=tabs):
        if len(row) != num_cells:
            raise Error(f"{file}:{line} has {len(row)} cells instead of {num_cells}: {short(row)}. Correct it.")
        yield line, row


def read_any_rows(file: Path, *, tabs: bool = False, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Like `read_rows`, with any number of cells, and with any delimiter of a CSV file.

    Raises:
        Error: the file cannot be read or is not valid.
    """
    if not file.is_file():
        raise Error(f"{file} is missing. Add it.")
    csv.field_size_limit(MAX_CELL)
    form = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tabs else {"delimiter": delimiter}
    line = 0
    try:
        with open(file, encoding=_encoding(file), newline="") as text:
            reader = csv.reader(text, strict=True, **form)
            for row in reader:
                line = reader.line_num
                if row:
                    yield line, row
    except UnicodeDecodeError as failure:
        encoding = failure.encoding.upper()
        raise Error(f"{file} is not {encoding} text after line {line}: {failure.reason}. Save it as UTF-8.") from None
    except OSError as failure:
        raise Error(f"{file} cannot be read: {failure.strerror}. Make it readable or remove it.") from None
    except csv.Error as failure:
        raise Error(f"{file}:{line + 1} is not a valid row: {failure}. Correct it.") from None


def _encoding(file: Path) -> str:
    """Return UTF-16 if the file starts with its byte order mark, as Excel's "Unicode text" does, else UTF-8."""
    with open(file, "rb") as data:
        return "utf-16" if data.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def number(text: str, file: Path, line: int, what: str) -> int:
    """Parse a cell that must be an integer >= 0.

    Args:
        text: the cell; spaces around the digits are ignored.
        file: the list, for the message.
        line: the cell's line, from 1, for the message.
        what: the cell's meaning, such as "class id", for the message.

    Raises:
        Error: the cell is not an integer >= 0 of at most 18 digits.
    """
    if not NUMBER.fullmatch(text):
        raise Error(f"{file}:{line} has the {what} {short(text)}, which is not an integer >= 0. Correct it.")
    return int(text)


def short(value: str | list[str]) -> str:
    """Format a cell or a row for a message, in one line of bounded length."""
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
