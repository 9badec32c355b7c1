"""Sections `search` and `train_step`: the project's own commands, as users run them."""

import tempfile
from importlib.util import find_spec

from benchmarks.window.session import ON_GPU, Found, Session

NEEDED = ("ray", "optuna", "mlflow")
GPU_TESTS = (
    "tests/trainables/metrics/test_ranking.py",
    "tests/trainables/profiling/test_resource_usage.py",
    "tests/platform/preflight/test_dry_run.py",
)
# The small size takes minutes on a CPU; this takes seconds and calls the same functions.
FEW_STEPS = """
from benchmarks.train_step import NAMES, OURS, UPSTREAMS, check_same, make_step, seconds

for name in NAMES:
    check_same(name)
    for side in (UPSTREAMS, *OURS):
        print(name, *side, f"{seconds(make_step(name, side), 1):.2f} s")
"""


def run_search(session: Session) -> Found:
    """Return how a small search, a dry run at paper scale and the GPU tests end; the search's trials share the GPU."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        return {"skipped": f"not installed: {', '.join(missing)}"}
    share = ["--gpus-per-trial", "0.25", "--concurrency", "4"] if ON_GPU else ["--concurrency", "2"]
    with tempfile.TemporaryDirectory(prefix="sakuga-window-") as runs:
        search = ["-m", "platform.search", "--space", "transreid", "--data", session.drawn_shards(), "--runs", runs]
        trials = ["--scale", "tiny", "--trials", "4" if session.tiny else "8", "--epochs", "2"]
        found = {"search": session.command(*search, "--json", *trials, *share, timeout_s=200)}
        if ON_GPU:
            dry_run = ["--scale", "paper", "--trials", "8", "--concurrency", "auto", "--dry-run"]
            found["dry run, paper scale"] = session.command(*search, "--json", *dry_run, timeout_s=90)
    tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", *GPU_TESTS]
    found["gpu tests"] = session.command(*tests, timeout_s=120)
    session.note(f"search: rc {found['search']['rc']} in {found['search']['seconds']} s")
    return found


def run_train_step(session: Session) -> Found:
    """Run `benchmarks/train_step.py`, which checks its own limit, or a few steps of it in a tiny run."""
    words = ("-c", FEW_STEPS) if session.tiny else ("benchmarks/train_step.py",)
    done = session.command(*words, timeout_s=150)
    session.note(f"benchmarks/train_step.py: rc {done['rc']} in {done['seconds']} s")
    return done
