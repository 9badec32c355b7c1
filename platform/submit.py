"""Run a search as a job on a Ray cluster from outside it: upload the package and print the job's output."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from shards_tools.command import Parser, run, say
from shards_tools.errors import Error

EXAMPLE = """example:
  python -m platform.submit --address http://head:8265 -- --space transreid --data s3://bucket/data --runs /shared/runs
  python -m platform.submit --address http://head:8265 --status transreid-1b2c3d4e

After -- come the options of python -m platform.search. Ctrl-C leaves the job running.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Submit a search and follow it, or follow, stop or check a job.

    Raises:
        Error: the command line names no action or several, or the cluster or the search refuses the request.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    own, words = (given[: given.index("--")], given[given.index("--") + 1 :]) if "--" in given else (given, [])
    options = parser().parse_args(own)
    actions = [name for name in ("status", "stop", "follow") if getattr(options, name)]
    if len(actions) + bool(words) != 1:
        raise Error("Give either a search after --, or one of --status, --stop and --follow with the name of a job.")
    # Here, because Ray takes a second to import.
    from platform.jobs import checked_search, connect, described, follow, known_job, stop, submit

    search = checked_search(words) if words else None
    client = connect(options.address.rstrip("/"))
    if search:
        job = submit(client, search, words)
        say(f"Job {job} was submitted to {options.address}.")
        if options.no_wait:
            print(job)
            return
    else:
        job = known_job(client, getattr(options, actions[0]))
    if options.stop:
        stop(client, job)
    elif options.status:
        print(f"{job} {described(client, job)}")
    else:
        follow(client, job, options.address)


def parser() -> Parser:
    """Return the parser of the options before `--`; those of the search follow it."""
    arguments = Parser(prog="python -m platform.submit", description=__doc__, epilog=EXAMPLE)
    add = arguments.add_argument
    add("--address", required=True, metavar="URL", help="address of the cluster's dashboard: http://HEAD:8265")
    add("--no-wait", action="store_true", help="print the job's name once it is submitted, and exit")
    add("--status", metavar="JOB", help="print a job's status")
    add("--stop", metavar="JOB", help="stop a job; its trials resume when it is submitted again")
    add("--follow", metavar="JOB", help="print the output of a job from its start, and exit with its exit code")
    return arguments


if __name__ == "__main__":
    run(main)
