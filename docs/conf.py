"""Configuration of Sphinx: `make docs` builds the documentation in docs/_build, and a warning fails."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from platform.spaces.registry import space_names
from trainables.evaluation.metric_names import COLUMNS
from trainables.recipes import printed_numbers

ROOT = Path(__file__).resolve().parents[1]

project = "Sakuga"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]  # the output
html_theme = "furo"
html_title = "Sakuga"
myst_heading_anchors = 4  # levels of headings that links can name
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # signatures have them
nitpicky = False

COMMANDS = (
    "platform.search",
    "platform.report",
    "platform.studies",
    "platform.reproduce",
    "platform.predict",
    "platform.evaluate",
    "platform.ui",
    "platform.submit",
    "shards_tools build",
    "shards_tools show",
    "shards_tools verify",
    "shards_tools draw",
    "trainables.train",
    "search_spaces",
)
# The public functions.
FUNCTIONS = (
    "platform.api.search",
    "platform.api.evaluate",
    "platform.api.predict",
    "platform.api.load_study",
    "trainables.register_backbone",
    "trainables.register_metric_loss",
    "trainables.register_id_loss",
    "trainables.register_recipe",
    "shards_tools.register_source",
    "trainables.metrics.cross_role.cross_role_metrics",
    "trainables.training.loop.train",
    "trainables.training.checkpoint.load_model",
    "shards_tools.manifest_file.read_manifest",
)
CLASSES = (
    "platform.config.SearchConfig",
    "platform.api.SearchResult",
    "trainables.metrics.cross_role.CrossRoleMetrics",
    "trainables.recipes.recipe.Recipe",
    "trainables.training.checkpoint_info.CheckpointInfo",
    "trainables.evaluation.evaluation.Evaluation",
    "shards_tools.manifest.Manifest",
)


def setup(app: Any) -> None:
    """Generate pages before the others are read, and correct links; Sphinx calls this function by its name."""
    app.connect("builder-inited", write_made_pages)
    app.connect("source-read", lambda app, page, source: link_to_pages(source))
    app.connect("include-read", lambda app, file, page, source: link_to_pages(source))


def link_to_pages(source: list[str]) -> None:
    """Let links to files outside docs/ lead to the pages that include these files."""
    source[0] = source[0].replace("](../../deploy/README.md", "](../deploying.md")
    source[0] = source[0].replace("](CONTRIBUTING.md", "](docs/contributing.md")


def write_made_pages(app: Any) -> None:
    """Write the reference pages into docs/made, from the help, lists and docstrings of the code."""
    made = Path(app.srcdir) / "made"
    made.mkdir(exist_ok=True)
    pages: dict[str, Callable[[], str]] = {
        "commands": commands,
        "spaces": spaces,
        "recipes": recipes,
        "papers": papers,
        "python": python,
    }
    for name, text in pages.items():
        (made / f"{name}.md").write_text(text())


def commands() -> str:
    """Return the page with the help of every command."""
    return "# Commands\n\nEach begins with `python -m`.\n\n" + "\n".join(
        section(name, output(*name.split(), "--help")) for name in COMMANDS
    )


def spaces() -> str:
    """Return the page with the parameters and baselines of every space."""
    return "# Spaces\n\n" + "\n".join(section(name, output("search_spaces", "--show", name)) for name in space_names())


def recipes() -> str:
    """Return the page with every recipe and the row of a paper that it trains."""
    return f"# Recipes\n\n```text\n{output('trainables.train', '--list')}\n```\n"


def papers() -> str:
    """Return the page with every row of the papers' tables: its recipe and the printed numbers."""
    parts = ["# The papers' rows\n\nThe printed numbers in percent, and the recipe that trains the row.\n"]
    entries = [
        entry for entry in json.loads(output("trainables.train", "--list", "--json"))["recipes"] if entry["table"]
    ]
    for table, rows in itertools.groupby(entries, key=lambda entry: entry["table"]):
        printed = [(entry, printed_numbers(table, entry["row"])) for entry in rows]
        names = [name for name in COLUMNS if any(name in numbers for _, numbers in printed)]
        heads = ["row", "recipe", *(COLUMNS[name] for name in names)]
        lines = [" | ".join(heads), " | ".join("---" for _ in heads)]
        for entry, numbers in printed:
            cells = [f"{100 * numbers[name]:.2f}" if name in numbers else "" for name in names]
            lines.append(" | ".join([entry["row"], f"`{entry['name']}`", *cells]))
        parts.append(f"## {table}\n\n" + "".join(f"| {line} |\n" for line in lines))
    return "\n".join(parts)


def python() -> str:
    """Return the page with the public functions and classes."""
    parts = [f"```{{eval-rst}}\n.. autofunction:: {name}\n```\n" for name in FUNCTIONS]
    parts += [f"```{{eval-rst}}\n.. autoclass:: {name}\n   :members:\n```\n" for name in CLASSES]
    return "# Python\n\n" + "\n".join(parts)


def section(name: str, text: str) -> str:
    """Return a section with preformatted text."""
    return f"## {name}\n\n```text\n{text}\n```\n"


def output(*words: str) -> str:
    """Return the output of a command, at a width of 100 columns."""
    environment = {"PATH": "/usr/bin:/bin", "COLUMNS": "100", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} exited with code {done.returncode}: {done.stderr.strip()}")
    return (done.stdout or done.stderr).strip()
