"""A reproduction of a paper's table: the options of the command line, resolved with the data and the machine."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from optuna.distributions import CategoricalDistribution, distribution_to_json

from platform.addresses import checked_runs, checked_tracking, refuse_password
from platform.budgets import Budget
from platform.environment import typed_command
from platform.fixed_trials import FIXED, Training
from platform.objectives import Goal
from platform.paper_tables.table import PROGRAM, TEST, PaperTable, get_table, reads_tags
from platform.protocol import EvaluationProtocol, checked_folds
from platform.resolved_search import ResolvedSearch
from platform.resources import Machine, TrialResources, allocate
from platform.spaces.loading import Space
from platform.stores import Stores, default_storage, default_tracking
from platform.training_setup import TrainingSetup
from shards_tools.command import command_line
from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from shards_tools.manifest_file import read_manifest
from shards_tools.verify import verify_shards
from trainables.evaluation.evaluation import Evaluation, Metrics
from trainables.recipes.recipe import Recipe

Split = Literal["val", "test"]
ROW = "row"  # the only parameter of the trials


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """One table on one data set. Only the main path holds all of it; other code takes the parts that it needs."""

    table: PaperTable
    rows: tuple[str, ...]
    seeds: int  # trainings of each row on each fold
    split: Split  # what the finished trainings are measured on
    search: ResolvedSearch  # runs the trainings
    out: Path  # the folder for the finished table

    @cached_property
    def recipes(self) -> dict[str, Recipe]:
        """The requested rows, each with its recipe at the scale of the trainings."""
        return {row: self.table.recipe(row, self.search.setup.scale) for row in self.rows}

    @cached_property
    def trainings(self) -> dict[Training, str]:
        """All trainings with their labels, in the order in which they run: first the whole table with the first seed.

        A label has the fold if the data have several.
        """
        of_fold = ", fold {}" if self.search.setup.manifest.num_folds > 1 else ""
        return {
            Training(of=row, fold=fold, seed=seed): f"{row}{of_fold.format(fold)}, seed {seed}"
            for seed in range(self.seeds)
            for fold in range(self.search.protocol.folds)
            for row in self.rows
        }


def resolve_reproduction(options: argparse.Namespace, machine: Machine, plugins: tuple[str, ...] = ()) -> Reproduction:
    """Return the reproduction that the command line asks for.

    Args:
        options: the parsed command line.
        machine: the machine that the trainings run on.
        plugins: the user's own code.

    Raises:
        Error: the data or the machine do not allow the options; only the first problem is named.
    """
    table = get_table(options.table)
    rows = table.select(options.rows)
    scale = options.scale if options.scale != "auto" else ("paper" if machine.gpus else "tiny")
    refuse_password(options.data)
    manifest = read_manifest(options.data)
    manifest.require_train()
    _refuse_other_data(table, rows, manifest)
    folds = checked_folds(options.folds, manifest)
    # Remote images are checked when they arrive.
    verify_shards(manifest, "full" if manifest.store.is_local else "quick")
    split = printed_split(table, manifest)
    chance = [Evaluation(manifest, split, fold).chance() for fold in range(folds)]
    runs = checked_runs(options.runs)
    search = ResolvedSearch(
        command=typed_command(PROGRAM),
        setup=TrainingSetup(
            space=space_of(table, scale),
            scale=scale,
            manifest=manifest,
            fold=0,
            seed=0,
            reading="auto",
            epochs=options.epochs,
            plugins=plugins,
        ),
        goal=Goal(objectives=table.metrics[:1], at_most={}, chance=_mean(chance)),
        budget=Budget(trials=len(rows) * folds * options.seeds),
        method=FIXED,
        resources=_resources(options, scale, machine),
        stores=Stores(
            study=options.study or f"{table.name}-{manifest.fingerprint[:8]}-{scale}",
            runs=runs,
            storage=options.storage or default_storage(runs),
            tracking=checked_tracking(options.tracking or default_tracking(runs)),
        ),
        protocol=EvaluationProtocol(folds=folds),
    )
    out = options.out or search.stores.folder
    return Reproduction(table=table, rows=rows, seeds=options.seeds, split=split, search=search, out=out)


def space_of(table: PaperTable, scale: str, rows: Sequence[str] = ()) -> Space:
    """Return the search space of a table, whose trials are its rows.

    Args:
        table: the table.
        scale: "tiny" or "paper".
        rows: the rows that `suggest` chooses from; empty: all.
    """
    names = {row: table.recipe(row, scale).name for row in table.recipes}
    choices, offered = tuple(table.recipes), tuple(rows or table.recipes)

    def suggest(trial: Any) -> dict[str, Any]:
        return {"recipe": names[trial.suggest_categorical(ROW, offered)]}

    recipes = [table.recipe(row, scale) for row in offered]
    return Space(
        name=table.name,
        suggest=suggest,
        baselines={},
        distributions={ROW: distribution_to_json(CategoricalDistribution(choices))},
        about=table.title,
        longest_epochs=max(recipe.epochs for recipe in recipes),
        longest_warmup=max(recipe.warmup_epochs for recipe in recipes),
        reads_tags=any(reads_tags(recipe) for recipe in recipes),
        kind="Table",
        shrink="Choose smaller rows with --rows",
    )


def _resources(options: argparse.Namespace, scale: str, machine: Machine) -> TrialResources:
    return allocate(
        scale,
        [machine],
        gpus_per_trial=options.gpus_per_trial,
        ranks_per_trial=1,
        concurrency=options.concurrency,
        is_cluster=False,
    )


def printed_split(table: PaperTable, manifest: Manifest) -> Split:
    """Return `test` if the paper prints a test split and the data have one that gives the same metrics, else `val`."""
    if table.protocol != TEST or not len(Evaluation(manifest, "test").query):
        return "val"
    return "test" if set(table.metrics) <= Evaluation(manifest, "test").chance().keys() else "val"


def _refuse_other_data(table: PaperTable, rows: Sequence[str], manifest: Manifest) -> None:
    """Refuse data without the table's metrics, and data without tags if a row reads them."""
    known = Evaluation(manifest, "val").objectives
    if not set(table.metrics) <= set(known):
        what = "classes" if manifest.layout == "classes" else "works or identities"
        raise Error(
            f"Table {table.name} reports {', '.join(table.metrics)}, but {manifest.store} holds {what}, which give"
            f" {', '.join(known[:2])}. Build the shards with: {command_line('shards_tools', 'build', table.build)}."
        )
    readers = [row for row in rows if reads_tags(table.recipes[row])]
    if readers and manifest.tags is None:
        raise Error(
            f"{manifest.store} has no tags, but these rows of {table.name} need them: {'; '.join(readers)}. Choose"
            " other rows with --rows, or build the shards with: python -m shards_tools build dafull."
        )


def _mean(metrics: Sequence[Metrics]) -> Metrics:
    """Return each metric's mean over the folds."""
    return {name: sum(one[name] for one in metrics) / len(metrics) for name in metrics[0]}
