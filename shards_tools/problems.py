"""Pictures that a build cannot use: each with the reason, counted for people and listed in a CSV file."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from shards_tools.folders import Resumable, write_durably
from shards_tools.plain_text import csv_text

KINDS = ("broken", "missing", "duplicate", "untrained")  # untrained: of a class without an image in train
MAX_MESSAGE = 400  # characters


class Problem(NamedTuple):
    """A picture that shards cannot hold, or should not."""

    path: Path
    kind: str  # one of KINDS
    reason: str  # continues a sentence that starts with the path


class BadPictures(Resumable):
    """A build found pictures that it cannot use. The work that it has done is kept."""

    def __init__(self, problems: Sequence[Problem], report: Path | None = None) -> None:
        listed = f"{report} lists all of them. " if report else ""
        ends = f"The source has {counted(problems)}. ", f". {listed}Correct them or add --on-error skip."
        example = f"{problems[0].path} {problems[0].reason}"
        super().__init__(_shortened(example, MAX_MESSAGE - len("".join(ends))).join(ends))
        self.problems = problems


def counted(problems: Sequence[Problem]) -> str:
    """Return the number of images with each kind of problem as text.

    >>> counted([Problem(Path("1.jpg"), "missing", ""), Problem(Path("2.jpg"), "broken", "")])
    '1 broken and 1 missing images'
    """
    counts = Counter(problem.kind for problem in problems)
    *parts, last = [f"{counts[kind]:,} {kind}" for kind in KINDS if counts[kind]]
    return f"{', '.join(parts)}{' and ' if parts else ''}{last} image{'s' if len(problems) > 1 else ''}"


def write_report(problems: Sequence[Problem], file: Path) -> None:
    """Write a CSV file with the columns path and reason, one line for each problem."""
    rows = [(str(problem.path), " ".join(problem.reason.split())) for problem in problems]
    write_durably(file, csv_text(("path", "reason"), rows).encode("utf-8", "surrogateescape"))


def _shortened(text: str, length: int) -> str:
    """Return the text with its middle left out if it is too long: the ends of paths and reasons tell more."""
    if len(text) <= length:
        return text
    half = max(10, (length - 3) // 2)
    return f"{text[:half]}...{text[-half:]}"
