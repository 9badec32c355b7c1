"""The documentation as pages: `make docs` builds them into docs/_build, and a warning ends it."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainables.metric_names import COLUMNS
from trainables.recipes.printed import printed_numbers

ROOT = Path(__file__).resolve().parents[1]

project = "Sakuga"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]  # where the pages are built
html_theme = "furo"
html_title = "Sakuga"
myst_heading_anchors = 4  # headings that a link may name
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # signatures show them
nitpicky = False

COMMANDS = (
    "platform.search",
    "platform.report",
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
# What other programs may call.
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
    "trainables.loop.train",
    "trainables.checkpoint.load_model",
    "shards_tools.manifest_file.read_manifest",
)
CLASSES = (
    "platform.config.SearchConfig",
    "platform.api.SearchResult",
    "trainables.metrics.cross_role.CrossRoleMetrics",
    "trainables.recipes.recipe.Recipe",
    "trainables.checkpoint.CheckpointInfo",
    "trainables.evaluation.Evaluation",
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
    """Write what commands, spaces, recipes and functions say of themselves into docs/made."""
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
    """What every command says of itself."""
    return "# Commands\n\nEach begins with `python -m`.\n\n" + "\n".join(
        section(name, output(*name.split(), "--help")) for name in COMMANDS
    )


def spaces() -> str:
    """What every space varies, and where it begins."""
    files = sorted((ROOT / "search_spaces").glob("[a-z]*.py"))
    return "# Spaces\n\n" + "\n".join(
        section(file.stem, output("search_spaces", "--show", file.stem)) for file in files
    )


def recipes() -> str:
    """Every recipe, with the row of the paper that it is."""
    return f"# Recipes\n\n```text\n{output('trainables.train', '--list')}\n```\n"


def papers() -> str:
    """Every row of the papers' tables: its recipe, and the numbers that are printed."""
    parts = ["# The papers' rows\n\nNumbers as printed, in percent; the recipe trains the row.\n"]
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
    """The functions and classes that other programs may use."""
    parts = [f"```{{eval-rst}}\n.. autofunction:: {name}\n```\n" for name in FUNCTIONS]
    parts += [f"```{{eval-rst}}\n.. autoclass:: {name}\n   :members:\n```\n" for name in CLASSES]
    return "# Python\n\n" + "\n".join(parts)


def section(name: str, text: str) -> str:
    """A heading, and a text as it is."""
    return f"## {name}\n\n```text\n{text}\n```\n"


def output(*words: str) -> str:
    """What a command of ours prints, in 100 columns."""
    environment = {"PATH": "/usr/bin:/bin", "COLUMNS": "100", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}: {done.stderr.strip()}")
    return (done.stdout or done.stderr).strip()
