"""Names of works are text, although Plotly interprets markup."""

from collections.abc import Callable

import pytest

from platform.reporting.figures.answers import Answers, Rankings
from platform.reporting.figures.class_size import plot_class_size
from platform.reporting.figures.confusion import plot_confusion
from platform.reporting.figures.figure import Figure
from platform.reporting.figures.works_map import plot_works_map


def marked_up(answers: Answers, plot: Callable[..., Figure], monkeypatch: pytest.MonkeyPatch) -> str:
    """The interactive plot of works whose names have markup, as JSON."""
    manifest = answers.asked.evaluation.manifest
    monkeypatch.setitem(vars(manifest), "works", tuple(f"<i>{work}</i>" for work in manifest.works))
    written = plot(answers).interactive.to_json()
    assert isinstance(written, str)
    return written.replace(r"\u003c", "<").replace(r"\u003e", ">")


@pytest.mark.parametrize("plot", [plot_confusion, plot_works_map])
def test_markup_in_a_work_is_escaped(
    rankings: Rankings, plot: Callable[..., Figure], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = marked_up(rankings, plot, monkeypatch)
    assert "&lt;i&gt;" in written
    assert "<i>" not in written


def test_markup_in_a_class_is_escaped(names: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    written = marked_up(names, plot_class_size, monkeypatch)
    assert "&lt;i&gt;" in written
    assert "<i>" not in written
