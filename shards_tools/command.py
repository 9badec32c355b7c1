"""What every command shares: one-line usage errors, exit codes, and JSON as the last line of standard output."""

import argparse
import json
import logging
import math
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from shards_tools.errors import Error, unknown


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are one line and exit code 2."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        settings.setdefault("allow_abbrev", False)
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*arguments, **settings)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, and name the nearest option where one is not known; a subcommand's parser does so for its own."""
        arguments, rest = super().parse_known_args(args, namespace)
        if rest and rest[0].startswith("-"):
            options = [option for action in self._actions for option in action.option_strings]
            raise unknown("option", rest[0].split("=")[0], options)
        if rest:
            raise Error(f"{rest[0]!r} is one argument too many. See: {self.prog} --help.")
        return arguments, rest

    def error(self, message: str) -> NoReturn:
        raise Error(f"{message[:1].upper()}{message[1:].rstrip('.')}. See: {self.prog} --help.")


def positive_int(text: str) -> int:
    """The argument as an integer of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def positive_float(text: str) -> float:
    """The argument as a finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def print_json(value: Any) -> None:
    """Print `value` as one line of standard JSON; NaN and infinity become null."""
    print(json.dumps(_finite(value), allow_nan=False), flush=True)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return value


def say(text: str = "") -> None:
    """Print one line for people: to standard error, so that standard output stays JSON alone."""
    print(text, file=sys.stderr, flush=True)


def on_terminal() -> bool:
    """Whether what people read goes to a terminal on which lines can be drawn again."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown") and "CI" not in os.environ


def show_log(*packages: str) -> None:
    """Let what these packages log at level INFO be read, a line each on standard error."""
    handler = _Said()
    for package in packages:
        log = logging.getLogger(package)
        log.setLevel(logging.INFO)
        log.handlers = [handler]
        log.propagate = False


class _Said(logging.Handler):
    """Says what is logged, to standard error as it is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        say(self.format(record))


def run(main: Callable[[Sequence[str] | None], None]) -> NoReturn:
    """Run a command's `main` and exit.

    0 done, 2 the user's mistake in one line, 130 interrupted; a bug keeps its traceback and exits with 1.
    """
    try:
        main(None)
    except Error as mistake:
        say(f"error: {' '.join(str(mistake).split())}")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # once more, while Python ends, would end it with another code
        say("interrupted")
        raise SystemExit(130) from None
    raise SystemExit(0)
