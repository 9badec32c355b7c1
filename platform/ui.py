"""Open the MLflow UI on what the searches of this folder have logged."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from platform.stores import TRACKING_NAME
from shards_tools.command import Parser, positive_int, run, say
from shards_tools.errors import Error

EXAMPLE = """example:
  python -m platform.ui --port 5000
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Replace this process by an MLflow server on the store under --runs, reachable from this machine only.

    Raises:
        Error: there is no store, it is another program's, or the port is not valid.
    """
    parser = Parser(prog="python -m platform.ui", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="default: runs")
    parser.add_argument("--port", type=positive_int, default=5000, metavar="N", help="default: 5000")
    options = parser.parse_args(arguments)
    from platform.tracking.local_store import refuse_foreign  # imports SQLAlchemy, which takes a moment

    store = options.runs.absolute() / TRACKING_NAME
    if not store.is_file():
        raise Error(f"{store} does not exist. Run a search first, or give its folder with --runs.")
    refuse_foreign(f"sqlite:///{store}")
    if options.port > 65535:
        raise Error(f"--port {options.port} is not a valid port. Give a number from 1 to 65535.")
    say(f"MLflow is starting: http://127.0.0.1:{options.port}  (Ctrl-C stops it)")
    # Without its job workers the server starts in a third of the time and needs a third of the memory.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{store}"]
    command += ["--registry-store-uri", f"sqlite:///{store}"]  # else a variable of the environment names it
    command += ["--default-artifact-root", (options.runs.absolute() / "artifacts").as_uri()]
    command += ["--host", "127.0.0.1", "--port", str(options.port), "--workers", "1"]
    os.execve(sys.executable, command, environment)


if __name__ == "__main__":
    run(main)
