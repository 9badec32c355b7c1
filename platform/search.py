"""Search the settings of a recipe: Ray runs the trials, Optuna decides and remembers, MLflow shows."""

from __future__ import annotations

if __name__ == "__main__":  # before imports that take seconds
    from platform.signals import leave_at_ctrl_c

    leave_at_ctrl_c()

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import optuna
from optuna.trial import TrialState

from platform.after_search.after_search import AfterSearch
from platform.cluster.joining import address_of_job, joined
from platform.cluster.sharing import prove_bucket, prove_shared
from platform.display.lines import print_header, print_summary
from platform.display.live import screen_of_search
from platform.environment import typed_command
from platform.execution import cluster_when_needed
from platform.lock import only_driver
from platform.objectives import COSTS, OBJECTIVES
from platform.plan import Plan, make_plan
from platform.projection.concurrency import fit_to_memory
from platform.projection.dry_run import dry_run
from platform.pruning import PRUNERS
from platform.resources import AUTO, Machine, auto_or_number, this_machine
from platform.room import needs_room
from platform.sampling.samplers import SAMPLERS
from platform.signals import remember_ctrl_c
from platform.spaces.loading import space_names
from platform.start import recorded_start, run_start, tracked
from platform.study import num_finished, open_storage, open_study
from platform.summary import next_steps, study_event, summary
from platform.tracking.journal import Journal
from platform.tracking.retelling import retell
from platform.tracking.tracker import Tracker
from platform.trials import Trials
from platform.warm_start import earlier_settings, enqueue_settings
from shards_tools.command import Parser, positive_float, positive_int, print_json, run, show_log
from shards_tools.images import READINGS

PROGRAM = "platform.search"
USAGE = "%(prog)s --space NAME|FILE.py [--data SHARDS] [option ...]"
EXAMPLE = """example:
  python -m platform.search --space transreid --trials 20
  python -m platform.search --space transreid --data shards/lsasrd --trials 60 --dry-run
  python -m platform.search --space transreid --data shards/lsasrd --trials 60 --hours 12

The same command again goes on where the last one ended, or prints the summary where all is done.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Search, or go on with a search."""
    started = time.monotonic()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    options = parser().parse_args(arguments)
    show_log("shards_tools")
    options.address = options.address or address_of_job()
    with joined(options.address) as nodes:
        start_or_go_on(options, nodes, started)


def start_or_go_on(options: argparse.Namespace, nodes: Sequence[Machine], started: float) -> None:
    """Plan the search and run what is left of it, on this machine or on the nodes of a cluster that was joined.

    Args:
        started: when the command was, by the monotonic clock.
    """
    plan = make_plan(options, nodes)
    machines = nodes or [this_machine()]
    if plan.checkpoints:
        prove_bucket(plan.checkpoints)
    if nodes:
        prove_shared(plan)
    if options.concurrency == AUTO:
        plan = fit_to_memory(plan, machines, shares_gpus=not options.gpus_per_trial, remembers=not options.dry_run)
    if options.dry_run:
        foreseen = dry_run(plan, machines)
        if options.json:
            print_json(foreseen)
        return
    run_search(plan, started, as_json=options.json)


def run_search(plan: Plan, started: float, *, as_json: bool) -> None:
    """Run what is left of the plan, and say what has come of it."""
    settings = earlier_settings(plan)
    storage = open_storage(plan.storage)
    with (
        needs_room(plan.runs),
        only_driver(plan, storage),
        Journal(plan.folder / "journal.jsonl") as journal,
    ):
        study = open_study(plan, storage)
        enqueue_settings(study, settings)
        retell(study, plan, journal)
        with tracked(plan, journal, PROGRAM) as tracker:
            after = AfterSearch(study, plan, storage, journal)
            trials = Trials(study, plan, journal, screen_of_search(study, plan))
            storage.interrupted = lambda: trials.interrupted
            with cluster_when_needed(plan) as start_ray:
                start = recorded_start(study, plan, start_ray, PROGRAM)
                if not trials.done:
                    search(study, plan, trials, tracker, start)
                if trials.over:
                    after.run(start)
            over = (after.ran or trials).over
            journal.append("study", **study_event(study, plan, typed_command(PROGRAM), over=over), time=time.time())
    print_summary(study, plan, after.tables(), next_steps(study, plan, tracker))
    if as_json:
        print_json({**summary(study, plan, tracker, time.monotonic() - started), **after.as_json()})
    ran = after.ran or trials
    if ran.interrupted:
        raise KeyboardInterrupt
    ran.failed.raise_if_too_many()


def parser() -> Parser:
    """The command line."""
    arguments = Parser(prog=f"python -m {PROGRAM}", usage=USAGE, description=__doc__, epilog=EXAMPLE)
    add = arguments.add_argument
    add("--space", required=True, metavar="NAME|FILE.py", help=f"one of {', '.join(space_names())}, or your own file")
    add("--data", metavar="SHARDS", help="shards: a folder, https://, s3:// or gs://; default: a drawn sample set")
    add("--study", metavar="NAME", help="default: space, data fingerprint and scale")
    add("--trials", type=positive_int, metavar="N", help="finished trials of the study in all")
    add("--hours", type=positive_float, metavar="H", help="end this start after H hours; what runs is gone on with")
    add("--gpu-hours", type=positive_float, metavar="H", help="end when the study's trials have had so many of GPUs")
    add("--target", type=float, metavar="VALUE", help="start no trial once the objective is this high, from 0 to 1")
    add(
        "--patience", type=positive_int, metavar="N", help="start no trial once N in a row were no better than the best"
    )
    add("--epochs", type=positive_int, metavar="N", help="of each trial; default: what the recipes say")
    add("--scale", choices=("auto", "paper", "tiny"), default="auto", help="auto: paper where there is a GPU")
    add("--folds", type=positive_int, metavar="K", help="train the best third on K folds in all, and rank by the mean")
    add("--finalists", type=positive_int, metavar="N", help="evaluate the N best on the test split, once")
    add("--final-seeds", type=positive_int, default=3, metavar="S", help="trainings of each finalist; default: 3")
    add(
        "--objective",
        nargs="+",
        default=[],
        metavar="NAME",
        help=f"one, or several to weigh against each other: {', '.join(OBJECTIVES)}; default: mAP, or top1",
    )
    add(
        "--at-most",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help=f"end trials that take more of {', '.join(COSTS)}; such as num_parameters=30e6",
    )
    add("--warm-start", metavar="STUDY", help="begin with the best settings of an earlier study of the same space")
    add("--warm-start-storage", metavar="URL", help="the database of that study; default: this search's")
    add("--sampler", choices=tuple(SAMPLERS), help="default: rungwise under halving, else tpe")
    add("--pruner", choices=tuple(PRUNERS), help="default: halving; none with several objectives")
    add("--runs", type=Path, default=Path("runs"), metavar="DIR", help="where everything is kept; default: runs")
    add("--checkpoints", metavar="BUCKET", help="s3:// or gs://, for nodes that share no disk; default: under DIR")
    add("--storage", metavar="URL", help="Optuna's database; default: DIR/optuna.db")
    add("--tracking", metavar="URI", help="MLflow's store; default: DIR/mlflow.db")
    add("--reading", choices=READINGS, default="auto", help="how trials read images; default: what fits the machine")
    add("--address", metavar="HOST:PORT", help="join the Ray cluster of this head; auto: the one this node belongs to")
    add("--gpus-per-trial", type=positive_float, metavar="F", help="of each rank; default: 1 where there is a GPU")
    add("--ranks-per-trial", type=positive_int, default=1, metavar="N", help="processes that share a trial's batches")
    add(
        "--concurrency",
        type=auto_or_number,
        metavar="auto|N",
        help="trials at a time; default: by CPUs or GPUs; auto: by memory too, of which a step is taken",
    )
    add("--seed", type=int, default=0, metavar="N", help="of the sampler and of every training; default: 0")
    add(
        "--dry-run", action="store_true", help="check everything, take one step, say what the search will take, and end"
    )
    add("--json", action="store_true", help="print one JSON object as the last line of standard output")
    return arguments


def search(study: optuna.Study, plan: Plan, trials: Trials, tracker: Tracker, start: Callable[[], None]) -> None:
    """Run the trials that are left."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    print_header(plan, num_finished(study), len(running))
    run_start(study, plan, trials, tracker, start)


if __name__ == "__main__":
    remember_ctrl_c()
    run(main)
