"""Write the descriptions that MLflow shows for a study and its trials, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping

import optuna
from optuna.trial import FrozenTrial

from platform.resolved_search import ResolvedSearch
from platform.spaces.loading import Space
from platform.stores import Stores, default_storage
from platform.study import chosen_trial
from platform.trial_record import TrialRecord
from shards_tools.command import command_line
from shards_tools.plain_text import markdown_code, markdown_text
from shards_tools.redaction import redact
from trainables.evaluation.metric_names import CLASSIFYING, RANKING, SPOKEN
from trainables.recipes import get_recipe
from trainables.recipes.recipe import Recipe
from trainables.recipes.settings import settings_of

NOTE = "mlflow.note.content"  # the tag that MLflow shows as the description of a run
ENDED = "\n\nEnded "  # separates the note written at the start of a trial from the outcome added at its end


def study_note(study: optuna.Study, search: ResolvedSearch) -> str:
    """Return the note of a study: its data and objective, its best results, and the commands that resume or report it.

    Returns:
        Markdown, with metrics in percent.
    """
    setup, goal = search.setup, search.goal
    manifest, best = setup.manifest, chosen_trial(study)
    what = (
        f"{manifest.num_images:,} images of {len(manifest.works):,} works or classes, {markdown_code(manifest.layout)}"
    )
    space, data = markdown_code(setup.space.name), markdown_code(setup.data)
    lines = [
        f"Space {space} at {setup.scale} scale on {data} ({what}); objective {' '.join(goal.objectives)} on the"
        f" validation split, fold {setup.fold}.",
        "",
        *(_table(study, goal.chance, best) if best else ["No trial has finished yet."]),
        "",
        f"To resume, or to print the summary: {markdown_code(search.command)}",
        "",
        f"For tables and figures: {markdown_code(report_command(search.stores))}",
    ]
    return "\n".join(lines)


def report_command(stores: Stores) -> str:
    """Return the command that reports a study."""
    own = stores.storage == default_storage(stores.runs)
    storage = [] if own else ["--storage", redact(stores.storage)]
    where = ["--runs", stores.runs, *storage, "--out", f"report-{stores.study}"]
    return command_line("platform.report", stores.study, *where)


def _table(study: optuna.Study, chance: Mapping[str, float], best: FrozenTrial) -> list[str]:
    """Return a Markdown table of the best trial, the baselines and chance level."""
    rows = [trial for trial in study.get_trials(deepcopy=False) if TrialRecord(trial).baseline and trial != best]
    names = [name for name in (*RANKING, *CLASSIFYING) if name in TrialRecord(best).metrics]
    heads = [f"{SPOKEN.get(name, name)} %" for name in names]
    best_name = f"**best: {markdown_text(TrialRecord(best).baseline or f'trial {best.number}')}**"
    entries: list[tuple[str, int | str, Mapping[str, float]]] = [(best_name, best.number, TrialRecord(best).metrics)]
    entries += [(markdown_text(TrialRecord(row).baseline), row.number, TrialRecord(row).metrics) for row in rows]
    entries.append(("chance", "", chance))
    return [
        f"| | trial | {' | '.join(heads)} |",
        f"|---|---|{'---:|' * len(names)}",
        *(f"| {name} | {number} | {' | '.join(_cell(values, names))} |" for name, number, values in entries),
    ]


def _cell(values: Mapping[str, float], names: list[str]) -> list[str]:
    return [f"{100 * values[name]:.2f}" if name in values else "" for name in names]


def trial_note(trial: optuna.Trial | FrozenTrial, recipe: Recipe, space: Space, sampler: str) -> str:
    """Return the note of a trial: where its settings come from, and how they differ from the named recipe.

    Args:
        recipe: what the trial trains; its settings may differ from those of the registered recipe of this name.
        space: its description starts the note of a trial with a label.
        sampler: the name of the study's sampler.

    Returns:
        Markdown: a sentence, and a table with one row per changed setting.
    """
    named = settings_of(get_recipe(recipe.name))
    changed = {key: value for key, value in settings_of(recipe).items() if value != named.get(key)}
    record = TrialRecord(trial)
    what = f"Baseline {markdown_code(record.baseline)}" if record.baseline else f"Suggested by `{sampler}`"
    if record.warm_start:
        what = f"Settings of {markdown_code(record.warm_start)}"
    if record.label:
        what = f"{markdown_text(space.about)}, {markdown_code(record.label)}"
    rows = [f"| `{key}` | {markdown_text(named.get(key))} | {markdown_text(value)} |" for key, value in changed.items()]
    return "\n".join(
        [f"{what}: recipe `{recipe.name}` with", "", "| setting | recipe | here |", "|---|---|---|", *rows]
    )


def ended_note(note: str, state: str, reason: str) -> str:
    """Return the note of a trial with its outcome added, replacing an earlier outcome.

    Args:
        state: `COMPLETE`, `PRUNED` or `FAIL`.
        reason: why it ended; may be empty.
    """
    how = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}[state]
    why = f"{how}: {reason}" if reason and not reason.startswith(how) else reason or how
    return f"{note.partition(ENDED)[0]}{ENDED}{markdown_text(why.rstrip('.'))}."
