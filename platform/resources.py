"""How many trials a machine runs at a time, and what each of them has."""

from __future__ import annotations

import argparse

from shards_tools.command import positive_int
from shards_tools.errors import Error
from shards_tools.processes import num_cpus

AUTO = "auto"


def auto_or_number(text: str) -> int | str:
    """The argument of --concurrency."""
    return AUTO if text == AUTO else positive_int(text)


def resources(options: argparse.Namespace, scale: str, num_gpus: int) -> tuple[int, int, float]:
    """Trials at a time, and the CPUs and GPUs of each; `auto` may lower the first once a training was measured."""
    gpus = options.gpus_per_trial or (1.0 if num_gpus else 0.0)
    if gpus > num_gpus:
        raise Error(f"--gpus-per-trial {gpus:g}: this machine has {num_gpus} GPUs. Give less, or leave it out.")
    # A tiny network gains nothing from a second thread; one of the papers' takes all there are.
    num_at_once = int(num_gpus / gpus) if gpus else num_cpus() if scale == "tiny" else 1
    concurrency = num_at_once if options.concurrency in (None, AUTO) else options.concurrency
    if gpus and concurrency > num_at_once:
        raise Error(f"--concurrency {concurrency}: with {gpus:g} GPUs per trial {num_at_once} fit. Give less of one.")
    return concurrency, cpus_of_each(concurrency, scale, gpus), gpus


def cpus_of_each(concurrency: int, scale: str, gpus: float) -> int:
    """The CPUs of one trial where so many run at a time."""
    return 1 if scale == "tiny" and not gpus else max(1, num_cpus() // concurrency)
