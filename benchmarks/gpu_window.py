"""The GPU window: run every path of the project that needs a GPU once, time it and record it as JSON.

    python benchmarks/gpu_window.py --out DIR [--data SHARDS] [--budget 540] [--only A,B] [--skip A,B]

Sections run in order of importance. Each writes one line to DIR/window.jsonl and to the output. If one fails, its line
has the error and the next one starts. Sections that would not finish within the budget are skipped and named. The last
lines are a short table. Without a GPU nothing is measured, except with --tiny, which runs every section at a small
size.

It needs torch, timm, numpy and the checkout; the section `search` also needs Ray, Optuna and MLflow.
"""

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # for a machine without the project installed

import psutil
import torch

from benchmarks.window.children import tell
from benchmarks.window.commands import run_search, run_train_step
from benchmarks.window.evaluation import measure_evaluation
from benchmarks.window.families import run_families
from benchmarks.window.first_step import measure_first_step, measure_first_steps
from benchmarks.window.loader import measure_loader
from benchmarks.window.machine import describe_machine, measure_ceilings
from benchmarks.window.ranks import measure_ranks, train_alone
from benchmarks.window.session import ON_GPU, Found, Session
from benchmarks.window.sharing import ask_for_name, ask_for_too_much, measure_sharing, train_in_share
from benchmarks.window.steps import measure_compiled, measure_steps
from benchmarks.window.timing import free
from benchmarks.window.traces import profile_steps, watch_waits
from benchmarks.window.trainings import compare_precisions, compare_resumed, train_rows
from shards_tools.errors import Error
from shards_tools.manifest_file import read_manifest

SHOWN_CHARACTERS = 1500  # shown of a section's line; the file has all of it


@dataclass(frozen=True)
class Section:
    """A measurement and the seconds that it should take on an H200."""

    measure: Callable[[Session], Found]
    expected_s: float


SECTIONS = {
    "env": Section(describe_machine, 10),
    "ceilings": Section(measure_ceilings, 12),
    "families": Section(run_families, 60),
    "step": Section(measure_steps, 100),
    "waits": Section(watch_waits, 12),
    "profile": Section(profile_steps, 15),
    "rows": Section(train_rows, 50),
    "evaluate": Section(measure_evaluation, 20),
    "resume": Section(compare_resumed, 35),
    "compile": Section(measure_compiled, 120),
    "share": Section(measure_sharing, 75),
    "one_step": Section(measure_first_steps, 40),
    "precision": Section(compare_precisions, 45),
    "loader": Section(measure_loader, 45),
    "nccl": Section(measure_ranks, 60),
    "search": Section(run_search, 150),
    "train_step": Section(run_train_step, 90),
}
CHILDREN: dict[str, Callable[..., Found]] = {
    "share": train_in_share,
    "greedy": ask_for_too_much,
    "driver": ask_for_name,
    "one_step": measure_first_step,
    "nccl": train_alone,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the sections, or the one measurement of a child; exit with 1 if a section failed."""
    options = _parsed(arguments)
    if not ON_GPU and not options.tiny:
        print("gpu_window: there is no GPU, so nothing was measured. Add --tiny to run every section on a CPU.")
        return
    session = _session(options)
    if options.tiny:
        torch.set_num_threads(1)
    if options.child:
        tell(CHILDREN[options.child](session, **options.options))
        return
    failed, left_out = _run_sections(session, options)
    ends = f"failed: {', '.join(failed) or 'nothing'}; left out: {', '.join(left_out) or 'nothing'}"
    print("\n".join(["", *session.table, f"{ends}; {_spent_s():.0f} s in all"]), flush=True)
    sys.exit(1 if failed else 0)


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    root, out = Path(__file__).parents[1], Path(os.environ.get("OUT", "runs/gpu_window"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=root, help="the checkout whose commands are run")
    parser.add_argument("--out", type=Path, default=out, help="folder of window.jsonl")
    parser.add_argument("--data", type=Path, help="shards of real pictures; default: drawn faces")
    parser.add_argument("--budget", type=float, default=540.0, help="seconds for all sections")
    parser.add_argument("--only", type=_sections, default=set(SECTIONS), metavar="A,B", help="run these sections")
    parser.add_argument("--skip", type=_sections, default=set(), metavar="A,B", help="skip these sections")
    parser.add_argument("--tiny", action="store_true", help="run at a small size, also on a CPU")
    parser.add_argument("--child", choices=CHILDREN, help=argparse.SUPPRESS)
    parser.add_argument("--options", type=json.loads, default={}, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        if options.data is not None:
            read_manifest(options.data)
    except Error as failure:
        parser.error(f"--data: {failure}")
    return options


def _sections(text: str) -> set[str]:
    names = set(filter(None, text.split(",")))
    if names - set(SECTIONS):
        unknown = ", ".join(sorted(names - set(SECTIONS)))
        raise argparse.ArgumentTypeError(f"no section is called {unknown}. Sections: {', '.join(SECTIONS)}.")
    return names


def _session(options: argparse.Namespace) -> Session:
    """Create the folders and return the session; the pixel cache is kept next to the drawn shards."""
    out = options.out.resolve()
    scratch = Path(os.environ.get("SAKUGA_ROOM", out.parent)).resolve()
    for folder in (out, scratch):
        folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("SAKUGA_CACHE", str(scratch / "sakuga-cache"))
    shards = options.data and options.data.resolve()
    return Session(root=options.root.resolve(), out=out, scratch=scratch, shards=shards, tiny=options.tiny)


def _run_sections(session: Session, options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Run the chosen sections and record them; return the names of those that failed and those that were skipped."""
    failed, left_out = [], []
    with (session.out / "window.jsonl").open("a") as lines:
        for name in (name for name in SECTIONS if name in options.only - options.skip):
            spent = _spent_s()
            if spent + SECTIONS[name].expected_s > options.budget:
                left_out.append(name)
                continue
            found = _run(session, SECTIONS[name])
            if "traceback" in found:
                failed.append(name)
            seconds = round(_spent_s() - spent, 1)
            text = json.dumps({"section": name, "seconds": seconds, "at": round(spent, 1), **found}, default=str)
            lines.write(text + "\n")
            lines.flush()
            print(text if len(text) < SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}...", flush=True)
            free()
    return failed, left_out


def _spent_s() -> float:
    """Return the age of this process, imports included."""
    started: float = psutil.Process().create_time()
    return time.time() - started


def _run(session: Session, section: Section) -> dict[str, Any]:
    try:
        return section.measure(session)
    except (Exception, SystemExit) as failure:
        text = traceback.format_exc()[-2000:]
        return {"error": f"{type(failure).__name__}: {failure}", "traceback": text}


if __name__ == "__main__":
    main()
