"""The project's prose is plain US English: no phrase of the old style and no British spelling."""

import io
import re
import subprocess
import tokenize
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

THIS_FILE = Path(__file__).relative_to(ROOT).as_posix()  # lists the phrases
# Phrases, not words: "stands for" and "beside" alone have honest uses. A phrase may continue on the next line.
PHRASES = (
    "that which|so many|the one that|it is said|than which|of equals|whose word|what befalls|which alone|told apart",
    "(is|are|was|be) gone on with|goes on (with|where)|go on (from|with)",
    "do(es)? not do(?=[:.])|gives? back|given back|makes of|is none of|is let be|for want of|worked out|put back to",
    "stands? (beside|in|there|alone|at|on|where|only|together)|lies? (beside|there|in|below|on|already)",
    "comes? to be|(that|which|store|server|bucket) is away|(made|built|measured|written|counted|begins?) anew",
    "whoever|where there (is|are)|as far as there|(is|are|was) asked (for|about)|hears? of|is no (file|folder)|at hand",
)
PHRASE = re.compile(rf"\b({'|'.join(PHRASES)})\b".replace(" ", r"[\s#]+"), re.IGNORECASE)
BRITISH = re.compile(
    r"\b\w*(optimis|normalis|initialis|maximis|minimis|regularis|synchronis|vectoris|serialis|generalis|recognis|organis"
    r"|summaris|colour|centre|behaviour|neighbour|favour|grey|labelled|cancelled|modelled|artefact|catalogue)\w*",
    re.IGNORECASE,
)
CODE = re.compile(r"```.+?```|`[^`]+`", re.DOTALL)
# Former names of keys, which are still accepted; in prose only between backquotes.
BRITISH_NAMES = {"centre", "centre_weight", "centres", "optimiser", "sub_centres"}


@cache
def tracked() -> tuple[str, ...]:
    listed = subprocess.run(["git", "ls-files", "*.py", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    return tuple(name for name in listed.stdout.splitlines() if (ROOT / name).is_file())


CHECKED = [name for name in tracked() if name != THIS_FILE]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def split_prose(text: str, suffix: str) -> tuple[list[str], list[str]]:
    """The sentences of a file, and its names and keys."""
    if suffix == ".md":
        prose = [text]
        names = []
    else:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
        prose = [token.string for token in tokens if token.type != tokenize.NAME and " " in token.string]
        names = [token.string for token in tokens if token.type == tokenize.NAME or " " not in token.string]
    quoted = [span for part in prose for span in CODE.findall(part)]
    return [CODE.sub(" ", part) for part in prose], [*names, *quoted]


def marks_in(text: str, suffix: str) -> list[str]:
    """The phrases of the old style and the British words in a text, and its British names that are not listed."""
    prose, names = split_prose(text, suffix) if BRITISH.search(text) else ([], [])
    phrases = [" ".join(match.group().split()) for match in PHRASE.finditer(text)]
    words = [match.group() for part in prose for match in BRITISH.finditer(part)]
    unlisted = {match.group() for name in names for match in BRITISH.finditer(name)} - BRITISH_NAMES
    return [*phrases, *words, *sorted(unlisted)]


def test_all_files_are_written_in_plain_us_english():
    marks = {name: marks_in(read(name), Path(name).suffix) for name in CHECKED}
    assert {name: found for name, found in marks.items() if found} == {}


def test_each_british_name_is_still_in_use():
    words = set().union(*(re.findall(r"\w+", read(name)) for name in CHECKED))
    assert not BRITISH_NAMES - words


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("# A study is gone on with by a fresh Tuner.", "is gone on with"),
        ('raise Error("seed=-1 does not do: take another.")', "does not do"),
        ('"""It gives\n    back the losses."""', "gives back"),
        ("x = 1  # of equals the earliest leads", "of equals"),
        ("# Normalised pixels", "Normalised"),
        ("# the colour of a pixel", "colour"),
        ("regularised = 0", "regularised"),
        ('settings["behaviour"]', "behaviour"),
    ],
)
def test_marks_are_found_in_comments_strings_and_names(text, mark):
    assert marks_in(text, ".py") == [mark]


@pytest.mark.parametrize(
    "text",
    ["# NaN stands for a missing value", "# It does not download.", "# `optimiser` is a key", 'settings["optimiser"]'],
)
def test_plain_sentences_and_names_to_be_renamed_have_no_marks(text):
    assert marks_in(text, ".py") == []
