"""Shared parts of every command: one-line usage errors, exit codes, and JSON as the last line of standard output."""

import argparse
import json
import logging
import math
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from shards_tools.errors import Error, unknown
from shards_tools.plain_text import visible
from shards_tools.redaction import redact


class Parser(argparse.ArgumentParser):
    """Argument parser that reports a usage error in one line, with exit code 2."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        settings.setdefault("allow_abbrev", False)
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*arguments, **settings)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the arguments; each subcommand's parser checks its own options.

        Raises:
            Error: an option is unknown, and the message suggests the nearest one; or an argument is left over.
        """
        arguments, rest = super().parse_known_args(args, namespace)
        if rest and rest[0].startswith("-"):
            options = [option for action in self._actions for option in action.option_strings]
            raise unknown("option", rest[0].split("=")[0], options)
        if rest:
            raise Error(f"Unexpected argument {rest[0]!r}. See: {self.prog} --help.")
        return arguments, rest

    def error(self, message: str) -> NoReturn:
        raise Error(f"{message[:1].upper()}{message[1:].rstrip('.')}. See: {self.prog} --help.")


def positive_int(text: str) -> int:
    """Parse an argument that must be an integer >= 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer >= 1")
    return int(text)


def positive_float(text: str) -> float:
    """Parse an argument that must be a finite number > 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number > 0")
    return number


def add_json_option(arguments: argparse.ArgumentParser) -> None:
    """Add --json to a command."""
    arguments.add_argument(
        "--json", action="store_true", help="print one JSON object as the last line of standard output"
    )


def print_json(value: Any) -> None:
    """Print `value` as one line of standard JSON; NaN and infinity become null."""
    print(redact(json.dumps(_finite(value), allow_nan=False)), flush=True)


def print_data(line: str = "") -> None:
    """Print one line of data to standard output, where a pipe reads it; exit with 0 if the pipe's reader has ended."""
    try:
        print(visible(redact(line)), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes it at the end
        raise SystemExit(0) from None


def data_printer(as_json: bool) -> Callable[[str], None]:
    """Return the function that prints lines of data: `print_data`, or `say` if standard output holds JSON."""
    return say if as_json else print_data


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return value


def say(text: str = "") -> None:
    """Print one line for the user to standard error, so that standard output holds only data."""
    print(visible(redact(text)), file=sys.stderr, flush=True)


def command_line(module: str, *words: object) -> str:
    """Return `python -m module words ...`, quoted so that it can be pasted into a shell."""
    return shlex.join(["python", "-m", module, *map(str, words)])


def on_terminal() -> bool:
    """Return whether standard error is a terminal that can redraw lines."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown") and "CI" not in os.environ


def show_log(*packages: str) -> None:
    """Print the log records of these packages, level INFO and above, one line each on standard error."""
    handler = _Said()
    for package in packages:
        log = logging.getLogger(package)
        log.setLevel(logging.INFO)
        log.handlers = [handler]
        log.propagate = False


class _Said(logging.Handler):
    """Log handler that writes to whatever `sys.stderr` is when a record arrives."""

    def emit(self, record: logging.LogRecord) -> None:
        say(self.format(record))


def run(main: Callable[[Sequence[str] | None], None]) -> NoReturn:
    """Run a command's `main` and exit.

    The exit code is 0 on success, 2 after an Error (printed in one line) and 130 after Ctrl-C. Any other exception
    keeps its traceback and exits with 1.
    """
    try:
        main(None)
    except Error as mistake:
        say(f"error: {' '.join(str(mistake).split())}")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C during shutdown would change the exit code
        # If the exception has passed through `exec`, as in an import, Python would end this process by the signal.
        exec("")
        say("interrupted")
        raise SystemExit(130) from None
    raise SystemExit(0)
