"""How long commands take to answer, in user seconds of their process, beside a limit and beside `optuna --help`.

Prints a table, with `--json` also an object; the exit code is the number of commands that exceed their limit.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from shards_tools.command import Parser, say

ROOT = Path(__file__).resolve().parents[1]
HELP_LIMIT_S, LIST_LIMIT_S = 0.6, 1.5
REPEATS = 3
COMMANDS = {
    "platform.search --help": HELP_LIMIT_S,
    "platform.reproduce --help": HELP_LIMIT_S,
    "platform.report --help": HELP_LIMIT_S,
    "platform.evaluate --help": HELP_LIMIT_S,
    "platform.predict --help": HELP_LIMIT_S,
    "platform.submit --help": HELP_LIMIT_S,
    "platform.ui --help": HELP_LIMIT_S,
    "trainables.train --help": HELP_LIMIT_S,
    "search_spaces --help": HELP_LIMIT_S,
    "shards_tools --help": HELP_LIMIT_S,
    "platform.reproduce --list": LIST_LIMIT_S,
    "trainables.train --list": LIST_LIMIT_S,
    "search_spaces --list": LIST_LIMIT_S,
}


def main() -> int:
    """Measure every command; return how many exceed their limit."""
    parser = Parser(prog="python benchmarks/startup.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    as_json = parser.parse_args().json
    peer = user_seconds(["-c", "import sys; from optuna.cli import main; sys.argv = ['optuna', '--help']; main()"])
    found = {words: user_seconds(["-m", *words.split()]) for words in COMMANDS}
    say(f"{'user seconds':<28}{'median':>8}{'limit':>8}{'x optuna --help':>18}")
    for words, seconds in found.items():
        over = "  over" if seconds > COMMANDS[words] else ""
        say(f"{words:<28}{seconds:8.2f}{COMMANDS[words]:8.1f}{seconds / peer:18.2f}{over}")
    if as_json:
        print(json.dumps({"peer": peer, "seconds": found, "limits": COMMANDS}))
    return sum(seconds > COMMANDS[words] for words, seconds in found.items())


def user_seconds(words: Sequence[str]) -> float:
    """Return the median user seconds of a Python process with these arguments."""
    times = []
    for _ in range(REPEATS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        environment = {**os.environ, "COLUMNS": "100"}
        subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, check=True)
        times.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before)
    return statistics.median(times)


if __name__ == "__main__":
    raise SystemExit(main())
