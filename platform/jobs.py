"""Searches as jobs of a Ray cluster: submit, follow and stop them."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import logging
import re
import shlex
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import aiohttp
from ray.exceptions import RayError
from ray.job_submission import JobStatus, JobSubmissionClient

from platform.cluster.auth import TOKEN_PLACES, demand_tokens, own_token
from platform.cluster.connect import copied_package
from platform.search import parser as search_parser
from shards_tools.command import command_line, say
from shards_tools.errors import Error, unknown
from shards_tools.plugins import COPIED_FILES
from shards_tools.redaction import redact

ANSWER_S = 10.0
LONGEST_STOP_S = 60.0


def checked_search(words: Sequence[str]) -> argparse.Namespace:
    """Return the options of the search.

    Raises:
        Error: an option would fail in a job, or its files would be deleted with the job's folder.
    """
    options = search_parser().parse_args(words)
    if options.address:
        raise Error(
            f"--address {options.address} after -- is not allowed: the job joins the cluster that it runs on. Leave it"
            " out."
        )
    if not options.runs.is_absolute():
        raise Error(f"--runs {options.runs} would be deleted with the job. Give an absolute path on the cluster.")
    if options.data and "://" not in options.data and not Path(options.data).is_absolute():
        raise Error(
            f"--data {options.data} is not on the cluster. Give an absolute path on the cluster, or an address."
        )
    for name in ("storage", "tracking", "warm_start_storage"):
        if re.match(r"sqlite:///(?!/)", getattr(options, name) or ""):
            option = "--" + name.replace("_", "-")
            raise Error(
                f"{option} {getattr(options, name)} would be deleted with the job. Give an absolute path: sqlite:////..."
            )
    for name in ("data", "storage", "tracking", "warm_start_storage", "checkpoints"):
        address = getattr(options, name) or ""
        if address != redact(address):
            raise Error(
                f"--{name.replace('_', '-')} {address} has a password, which the cluster would show with the job. Set"
                " PGPASSWORD, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, on the cluster's head instead."
            )
    for file in files_of(options):
        if not Path(file).is_file():
            raise Error(f"{file} does not exist here. Your own files are copied to the cluster from this machine.")
    return options


def connect(address: str) -> JobSubmissionClient:
    """Return a client for the cluster's jobs.

    Raises:
        Error: no dashboard answers, the token is missing or wrong, or the cluster runs without tokens.
    """
    what = f"The Ray cluster at {address}"
    demand_tokens(what, not _lets_in(address, None))
    token = own_token()
    if token and not _lets_in(address, token):
        raise Error(f"{what} rejects this token. Copy the cluster's token to {TOKEN_PLACES}.")
    logging.getLogger("ray").setLevel(logging.ERROR)
    return JobSubmissionClient(address)


def submit(client: JobSubmissionClient, search: argparse.Namespace, words: Sequence[str]) -> str:
    """Submit a search with this package, and return the name of the job.

    Args:
        client: the cluster's jobs.
        search: the options of the search.
        words: the same options as words of a command line.

    Raises:
        Error: a job of this name is running, or the cluster refuses the job.
    """
    job = free_name(client, job_name(search))
    with tempfile.TemporaryDirectory() as folder:
        package = copied_package(Path(folder))
        words = with_copied_files(words, files_of(search), Path(folder))
        command = ["python", "-m", "platform.search", *words, "--address", "auto"]
        try:
            return client.submit_job(
                entrypoint=shlex.join(command), submission_id=job, runtime_env={"working_dir": package}
            )
        except (RuntimeError, RayError) as failure:
            raise Error(f"The cluster refused job {job}: {first_line(failure)}.") from None


def files_of(search: argparse.Namespace) -> list[str]:
    """Return the user's own files that the search names: its space and its imports."""
    return list(dict.fromkeys(name for name in (search.space, *search.import_) if name.endswith(".py")))


def with_copied_files(words: Sequence[str], files: Sequence[str], package: Path) -> list[str]:
    """Copy files into a job's package, and return the words of the search with the copies' names.

    Raises:
        Error: two files have the same name.
    """
    places: dict[str, str] = {}
    for file in files:
        copy = package / COPIED_FILES / Path(file).name
        if copy.exists():
            raise Error(f"Two files are called {copy.name}: {', '.join(files)}. Rename one.")
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(Path(file).read_bytes())
        there = str(copy.relative_to(package))
        places |= {file: there, f"--space={file}": f"--space={there}", f"--import={file}": f"--import={there}"}
    return [places.get(word, word) for word in words]


def job_name(search: argparse.Namespace) -> str:
    """Return the name given by --study, else the space's name with a digest of space, data and scale."""
    if search.study:
        return str(search.study)
    parts = [search.space, search.data, search.scale]
    return f"{Path(search.space).stem}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:8]}"


def free_name(client: JobSubmissionClient, name: str) -> str:
    """Return `name`, with a number appended if ended jobs have it already.

    Raises:
        Error: a job of this name is still running.
    """
    taken = {job.submission_id: job.status for job in client.list_jobs()}
    number = 1
    while (candidate := name if number == 1 else f"{name}-{number}") in taken:
        if not taken[candidate].is_terminal():
            status = taken[candidate].value.lower()
            raise Error(f"Job {candidate} is {status}. Watch it with --follow {candidate}, or stop it with --stop.")
        number += 1
    return candidate


def known_job(client: JobSubmissionClient, job: str) -> str:
    """Return the name of a job that the cluster has.

    Raises:
        Error: there is no such job.
    """
    names = [known.submission_id for known in client.list_jobs() if known.submission_id]
    if job not in names:
        raise unknown("job", job, names) if names else Error(f"This cluster has no job {job}. Submit a search first.")
    return job


def described(client: JobSubmissionClient, job: str) -> str:
    """Return the job's status in one line, with Ray's message if it failed or was stopped."""
    info = client.get_job_info(job)
    bad = info.status in (JobStatus.FAILED, JobStatus.STOPPED)
    return info.status.value + (f": {info.message.strip().splitlines()[0]}" if bad and info.message else "")


def stop(client: JobSubmissionClient, job: str) -> None:
    """Stop the job, wait until it has ended, and print its status.

    Raises:
        Error: it has not ended in time.
    """
    client.stop_job(job)
    deadline = time.monotonic() + LONGEST_STOP_S
    while not client.get_job_status(job).is_terminal():
        if time.monotonic() > deadline:
            raise Error(
                f"Job {job} has not ended within {LONGEST_STOP_S:g} s of --stop. Try again, or check it with --status."
            )
        time.sleep(0.5)
    print(f"{job} {described(client, job)}")


def follow(client: JobSubmissionClient, job: str, address: str) -> None:
    """Print the job's output until it ends, and exit with its exit code.

    Raises:
        Error: the connection was lost.
        SystemExit: the job did not succeed.
    """
    command = command_line("platform.submit", "--address", address)
    try:
        try:
            asyncio.run(_print_output(client, job))
            while not client.get_job_status(job).is_terminal():
                time.sleep(0.5)
        except (RuntimeError, OSError, aiohttp.ClientError) as failure:
            cause = f"The connection to {address} was lost ({first_line(failure)})"
            raise Error(f"{cause}. The job may still be running: {command} --follow {job}") from None
    except KeyboardInterrupt:
        say(f"Job {job} keeps running. Follow it: {command} --follow {job}; stop it: {command} --stop {job}")
        raise
    info = client.get_job_info(job)
    if info.status != JobStatus.SUCCEEDED:
        say(f"Job {job}: {described(client, job)}")
        raise SystemExit(info.driver_exit_code if (info.driver_exit_code or 0) > 0 else 1)


async def _print_output(client: JobSubmissionClient, job: str) -> None:
    async for lines in client.tail_job_logs(job):
        print(lines, end="", flush=True)


def _lets_in(address: str, token: str | None) -> bool:
    """Whether the dashboard accepts the token, or None for a request without one.

    Raises:
        Error: no Ray dashboard answers.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        request = urllib.request.Request(f"{address}/api/version", headers=headers)
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
            if "ray_version" in json.load(answer):
                return True
            cause = "another server answers"
    except urllib.error.HTTPError as refusal:
        refusal.close()
        if refusal.code in (401, 403):
            return False
        cause = f"it answers {refusal.code}"
    except (OSError, ValueError) as failure:
        cause = first_line(getattr(failure, "reason", failure))
    raise Error(f"No Ray dashboard answers at {address}: {cause}. Give http://HEAD:8265, as ray start printed it.")


def first_line(failure: object) -> str:
    """Return the first line of a failure's message, without a period at its end."""
    return (str(failure).strip().splitlines() or [type(failure).__name__])[0].rstrip(".")
