"""How long commands take to answer, and a search to its first report.

The first table has user seconds of a process, beside a limit and beside `optuna --help`. The second has wall-clock
seconds from the command to the report of the first epoch, beside a bare Ray Tune trial that imports torch and timm; the
search has one trial of one epoch on the sample set. All are medians. Prints the tables, with `--json` also an object;
the exit code is the number of commands that exceed their limit.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from shards_tools.command import Parser, say
from shards_tools.sample import sample_set

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
# The least that a researcher would write with Ray Tune alone.
BARE_TRIAL = """
import sys, time
from pathlib import Path
import ray
from ray import tune

def train(config):
    import timm, torch
    tune.report({"reported": time.time()})

ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
config = tune.RunConfig(storage_path=sys.argv[1], verbose=0)
found = tune.Tuner(train, run_config=config).fit()
Path(sys.argv[1], "reported").write_text(str(found[0].metrics["reported"]))
"""


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
    data = sample_set()
    rounds = [(to_report_of_search(data), to_report_of_bare_trial()) for _ in range(REPEATS)]
    search, bare = map(statistics.median, zip(*rounds, strict=True))
    say(f"\n{'to the first report':<28}{'seconds':>8}{'x bare trial':>26}")
    for name, seconds in {"platform.search": search, "bare Ray Tune trial": bare}.items():
        say(f"{name:<28}{seconds:8.1f}{seconds / bare:26.2f}")
    if as_json:
        reports = {"search": search, "bare_trial": bare}
        print(json.dumps({"peer": peer, "seconds": found, "limits": COMMANDS, "first_report": reports}))
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


def to_report_of_search(data: Path) -> float:
    """Return the seconds from the command of a search to the report of its first epoch."""
    with tempfile.TemporaryDirectory() as runs:
        words = ["--space", "transreid", "--data", str(data), "--runs", runs, "--trials", "1", "--epochs", "1"]
        began = time.time()
        run(["-m", "platform.search", *words, "--concurrency", "1", "--scale", "tiny"])
        (journal,) = Path(runs).glob("*/journal.jsonl")
        events = map(json.loads, journal.read_text().splitlines())
        return min(float(event["time"]) for event in events if event["kind"] == "metrics") - began


def to_report_of_bare_trial() -> float:
    """Return the seconds from the command of the bare trial to its report."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.time()
        run(["-c", BARE_TRIAL, folder])
        return float(Path(folder, "reported").read_text()) - began


def run(words: Sequence[str]) -> None:
    """Run Python with these arguments in the project's folder."""
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True, capture_output=True)


if __name__ == "__main__":
    raise SystemExit(main())
