"""List the studies, show one, stop one of its trials, or delete it so that its name can be used again."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from platform.addresses import checked_runs, checked_tracking
from platform.config import checked_study_name
from shards_tools.command import Parser, add_json_option, data_printer, print_json, run, say
from shards_tools.errors import Error

EXAMPLE = """examples:
  python -m platform.studies
  python -m platform.studies show STUDY
  python -m platform.studies stop STUDY --trial 7
  python -m platform.studies delete STUDY
"""
ACTIONS = ("list", "show", "stop", "delete")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `python -m platform.studies`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.action == "list" and options.study:
        parser.error(f"STUDY {options.study} is one too many with list. Leave it out, or use show")
    if options.action != "list" and not options.study:
        parser.error(f"the name of the study is missing after {options.action}. Find it with list")
    if (options.action == "stop") != (options.trial is not None):
        parser.error("--trial N belongs to stop: pass both, or neither")
    shown = {"list": _list, "show": _show, "stop": _stop, "delete": _delete}[options.action](options)
    if options.json:
        print_json(shown)


def _parser() -> Parser:
    parser = Parser(prog="python -m platform.studies", description=__doc__, epilog=EXAMPLE)
    add = parser.add_argument
    add("action", nargs="?", choices=ACTIONS, default="list", help="default: list")
    add("study", nargs="?", metavar="STUDY", help="the name of a study, as list prints it")
    add("--trial", type=int, metavar="N", help="with stop: the number of the trial")
    add("--runs", type=Path, default=Path("runs"), metavar="DIR", help="the --runs folder of the search; default: runs")
    add("--storage", metavar="URL", help="Optuna's database; default: optuna.db under --runs")
    add("--tracking", metavar="URI", help="with delete: MLflow's store; default: mlflow.db under --runs")
    add_json_option(parser)
    return parser


# The functions below import Optuna, which takes seconds.


def _list(options: Namespace) -> dict[str, Any]:
    from platform.read_only_study import open_read_only
    from platform.reporting.runner import list_studies
    from platform.stores import default_storage

    url = options.storage or default_storage(checked_runs(options.runs))
    return {"studies": list_studies(open_read_only(url), url, data_printer(options.json))}


def _show(options: Namespace) -> dict[str, Any]:
    """Print a line for the study and one for each trial."""
    from platform.read_only_study import count, num_epochs, open_read_only, read_study, value_of
    from platform.reporting.runner import study_line
    from platform.stores import default_storage
    from platform.study_outline import Outline
    from platform.terminal.lines import label
    from platform.trial_record import TrialRecord

    url = options.storage or default_storage(checked_runs(options.runs))
    write = data_printer(options.json)
    stored = read_study(open_read_only(url), url, options.study)
    best = stored.best.values[0] if stored.best else None
    shown = study_line(stored, Outline(count(stored), best), write)
    trials = []
    for trial in stored.trials:
        value, reason = value_of(trial, stored.objective), TrialRecord(trial).reason
        spoken = "" if value is None else f"{stored.objective} {100 * value:.2f} %"
        state, epochs = trial.state.name, num_epochs(trial)
        write(f"{label(trial):<32} {state.lower():<8} {epochs:>4} epochs  {spoken}  {reason}".rstrip())
        kept = {"trial": trial.number, "state": state, "epochs": epochs, "value": value}
        trials.append({**kept, "params": trial.params, "reason": reason})
    return {**shown, "trials": trials}


def _stop(options: Namespace) -> dict[str, Any]:
    from platform.read_only_study import open_read_only
    from platform.study_changes import stop_trial

    open_read_only(_stores(options).storage)  # refuses a database that does not exist, which would be created
    say(stop_trial(_stores(options), options.trial))
    return {"study": options.study, "trial": options.trial}


def _delete(options: Namespace) -> dict[str, Any]:
    from platform.study_changes import delete_study

    for line in delete_study(_stores(options)):
        say(line)
    return {"study": options.study}


def _stores(options: Namespace) -> Any:
    from platform.stores import Stores, default_storage, default_tracking

    runs = checked_runs(options.runs)
    if not runs.is_dir():
        raise Error(f"--runs {runs} does not exist. Give the --runs folder of the search.")
    return Stores(
        study=checked_study_name(options.study),
        runs=runs,
        storage=options.storage or default_storage(runs),
        tracking=checked_tracking(options.tracking or default_tracking(runs)),
    )


if __name__ == "__main__":
    run(main)
