"""Damage a file at random, as a fault or a stranger would, and ask its reader about it."""

import copy
import json
import random
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shards_tools.errors import Error
from tests.shards_tools.fuzzing import edit_bytes

LONGEST_ANSWER_S = 10
LONGEST_MESSAGE = 400  # characters
HOSTILE: tuple[Any, ...] = (
    *(None, True, -1, 0, 1.5, 1e308, 10**30, 2**63, float("nan"), float("inf")),
    *("", "x" * 5000, "\x1b[2J", "../../x", "NaN", "日本", [], [[]], [None], ["a", 1], {}, {"a": {}}),
)


def answers(file: Path, read: Callable[[], None], num_cases: int, seed: int = 0) -> Iterator[str]:
    """Yield what the reader says about each of `num_cases` damaged forms of the file: "" or the text of an Error.

    Any other exception, a long text, several lines, or an answer after LONGEST_ANSWER_S seconds is an AssertionError
    that names the case. The file is whole at the end.
    """
    whole = file.read_bytes()
    try:
        for number in range(num_cases):
            case = f"case {number} of seed {seed} of {file.name}"
            file.write_bytes(damaged(whole, random.Random(f"{seed} {number}"), is_json=file.suffix == ".json"))
            said = ""
            with limited(LONGEST_ANSWER_S, case):
                try:
                    read()
                except Error as refusal:
                    said = str(refusal)
                except Exception as failure:
                    raise AssertionError(f"{case}: {type(failure).__name__}: {failure}") from failure
            assert "\n" not in said, case
            assert len(re.sub(re.escape(str(file.parent)), "", said)) <= LONGEST_MESSAGE, f"{case}: {said}"
            yield said
    finally:
        file.write_bytes(whole)


def damaged(data: bytes, draw: random.Random, *, is_json: bool) -> bytes:
    """Return the data with bytes flipped, cut, repeated or added, or, in JSON, with other values."""
    if is_json and draw.random() < 0.02:
        return b"[" * 100_000
    if is_json and draw.random() < 0.7:
        value = json.loads(data)
        for _ in range(draw.choice((1, 1, 2))):
            _replace_one(value, draw)
        return json.dumps(value).encode()
    kinds = ("flip", "set", "cut", "repeat", "insert", "end")
    edits = [[draw.choice(kinds), draw.random(), draw.random()] for _ in range(draw.choice((1, 1, 1, 2, 4)))]
    return edit_bytes(data, edits)


@contextmanager
def limited(seconds: int, what: str) -> Iterator[None]:
    """Fail if the block takes longer."""

    def fail(*_: object) -> None:
        raise AssertionError(f"{what} takes more than {seconds} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _replace_one(value: Any, draw: random.Random) -> None:
    """Remove, add or replace one value at a random place of nested dicts and lists."""
    while True:
        places = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not places:
            return
        place = draw.choice(places)
        inner = value[place]
        if not (isinstance(inner, dict | list) and inner and draw.random() < 0.85):
            break
        value = inner
    deed = draw.random()
    if deed < 0.2:
        del value[place]
    elif deed < 0.3 and isinstance(value, dict):
        value["unknown"] = copy.deepcopy(draw.choice(HOSTILE))
    else:
        value[place] = copy.deepcopy(draw.choice(HOSTILE))
