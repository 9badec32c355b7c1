"""The section with the best settings, those of the baselines, and the commands that reproduce them."""

from __future__ import annotations

import shlex

from optuna.trial import FrozenTrial

from platform.protocol import command_for_test
from platform.reporting.content import NOTHING, Section, Table
from platform.reporting.figures.trials import distributions_of, setting
from platform.reporting.subject import Subject
from platform.study import front
from platform.trial_record import TrialRecord
from shards_tools.errors import Error
from trainables.recipes import get_recipe
from trainables.recipes.settings import settings_of
from trainables.training.checkpoint_info import INFO_NAME, CheckpointInfo, read_info
from trainables.training.checkpoint_store import fetched

MOST_OF_FRONT = 4


def settings_section(subject: Subject) -> Section:
    """Return the section with the settings of the best trial, or of the Pareto front, next to the baselines."""
    stored = subject.stored
    best = stored.best
    several = len(stored.objectives) > 1
    chosen = front(stored.study)[:MOST_OF_FRONT] if several else [best] if best else []
    rows = [trial for trial in stored.baselines if trial not in chosen]
    shown = [*chosen, *rows]
    names = distributions_of(shown)
    has_gaps = any(name not in trial.params for trial in shown for name in names)
    table = Table(
        title="Settings",
        columns=["setting", *(_name(trial, chosen, several=several) for trial in shown)],
        rows=[
            (name, *(setting(trial.params[name]) if name in trial.params else NOTHING for trial in shown))
            for name in names
        ],
        notes=[f"{NOTHING}: not used with the other settings."] if has_gaps else [],
    )
    return Section(
        title="Best settings",
        tables=[table] if shown else [],
        paragraphs=_paragraphs(subject) if shown else ["No trial has settings to show yet."],
        commands=commands(subject),
    )


def _paragraphs(subject: Subject) -> list[str]:
    """Return a sentence about the final training, if there is one."""
    final = subject.stored.final_training
    if final is None:
        return []
    of, place = TrialRecord(final).trained, TrialRecord(final).checkpoint
    return [f"Trial {of} was trained once more, on train and val. These weights have no metric on val: {place}"]


def commands(subject: Subject) -> list[tuple[str, str]]:
    """Return commands that train the best settings again, evaluate their checkpoint and resume the search.

    Returns:
        What each command does, and the command.
    """
    best, data = subject.stored.best, subject.data or "SHARDS"
    found: list[tuple[str, str]] = []
    if best is not None:
        place = TrialRecord(best).checkpoint
        try:
            with fetched(place, [INFO_NAME]) as checkpoint:
                info = read_info(checkpoint)
        except Error:
            pass  # the report names the unreadable checkpoint where the figures of the model are missing
        else:
            found.append(("Train the best settings again", in_lines(_training(info, data))))
            evaluate = ["python", "-m", "platform.evaluate", place, "--data", data]
            found.append(("Evaluate the best checkpoint", in_lines(evaluate)))
    final, manifest = subject.stored.final_training, subject.manifest
    command = command_for_test(TrialRecord(final).checkpoint, manifest) if final and manifest else None
    if command:
        found.append(("Evaluate the best settings trained on train and val", in_lines(shlex.split(command))))
    if "command" in subject.stored.last_start:
        found.append(("Resume the search", in_lines(shlex.split(subject.stored.last_start["command"]))))
    return found


def in_lines(words: list[str]) -> str:
    """Return a shell command with each option on its own line."""
    return "".join(
        f" \\\n  {shlex.quote(word)}" if word.startswith("--") else f" {shlex.quote(word)}" for word in words
    )[1:]


def _training(info: CheckpointInfo, data: str) -> list[str]:
    """Return the command of one training with the checkpoint's settings."""
    recipe = info.recipe
    usual = settings_of(get_recipe(recipe.name))
    changed = [f"{key}={_as_set(value)}" for key, value in settings_of(recipe).items() if value != usual[key]]
    words = ["python", "-m", "trainables.train", "--recipe", recipe.name, "--data", data, "--out", f"out/{recipe.name}"]
    words += ["--fold", str(info.fold), "--seed", str(info.seed)]
    return [*words, *(["--set", *changed] if changed else [])]


def _as_set(value: object) -> str:
    """Return a value in the notation of `--set`, with all its digits."""
    if value is None or isinstance(value, bool):
        return setting(value)
    return ",".join(map(repr, value)) if isinstance(value, tuple) else str(value)


def _name(trial: FrozenTrial, chosen: list[FrozenTrial], *, several: bool) -> str:
    row = TrialRecord(trial).baseline
    if trial not in chosen:
        return str(row)
    return f"{'front' if several else 'best'}: {row or f'trial {trial.number}'}"
