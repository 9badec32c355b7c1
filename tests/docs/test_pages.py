"""The documentation is built without a warning, and every link in it leads somewhere."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from shards_tools.sources.source import NAMES
from tests.docs.commands import PAGES, ROOT


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"], ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.M)
            anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, f"{page.name} links to {target}"


@pytest.mark.parametrize("page", [page for page in PAGES if "::test_" in page.read_text()], ids=lambda page: page.stem)
def test_every_test_that_a_page_names_is_there(page: Path) -> None:
    """A file is named by the end of its path, or from a folder of tests; `::test` alone is in the file before."""
    files = [*(ROOT / "tests").rglob("test_*.py")]
    folder = ROOT / "tests" / ("shards_tools" if page.stem == "security" else "platform")
    file = ROOT
    named = re.findall(r"`([\w/.]*test_\w+\.py)?(?:::(test_\w+))?`", page.read_text())
    assert any(test for _, test in named)
    for name, test in named:
        if name:
            own = (folder / name).resolve()
            (file,) = [own] if own in files else [one for one in files if str(one).endswith(f"/{name}")]
        assert not test or f"def {test}(" in file.read_text(), f"{page.name} names {name}::{test}"


def test_the_pages_name_the_pythons_that_pyproject_allows() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lowest, above = re.findall(r"\d+\.\d+", settings["project"]["requires-python"])
    highest = f"3.{int(above.partition('.')[2]) - 1}"
    assert settings["tool"]["mypy"]["python_version"] == lowest
    assert settings["tool"]["ruff"]["target-version"] == "py" + lowest.replace(".", "")
    named = {found for page in PAGES for found in re.findall(r"Python (3\.\d+) to (3\.\d+)", page.read_text())}
    assert named == {(lowest, highest)}


@pytest.mark.slow
def test_the_pages_are_built_without_a_warning(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "docs", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert (done.returncode, done.stderr) == (0, "")
    fetched = r'<(?:script|img)[^>]*src="https?:|<link[^>]*rel="stylesheet"[^>]*href="https?:'
    pages = list(tmp_path.rglob("*.html"))
    assert [page.name for page in pages if re.search(fetched, page.read_text())] == []
    assert "--ranks-per-trial" in (tmp_path / "made" / "commands.html").read_text()
    assert "gallery_features" in (tmp_path / "made" / "python.html").read_text()


def test_the_guide_has_a_row_for_every_source() -> None:
    rows = (ROOT / "docs/guide/data.md").read_text()
    assert [name for name in NAMES if f"\n| `{name}` | " not in rows] == []
