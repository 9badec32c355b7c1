"""The report as files: a page that needs no network, text, figures for print, and a page of figures to explore.

Names and messages in a study are strangers' text: Jinja writes them as text, and the page allows no script.
"""

from __future__ import annotations

import base64
import html
import re
from pathlib import Path

import jinja2

from platform.figures.figure import Figure
from platform.report.content import Content
from platform.report.trials_csv import trials_csv
from platform.stored_study import StoredStudy

PHOTOGRAPH = "<image"  # in a drawing: pixels, which are embedded once and as such


def write_report(folder: Path, content: Content, stored: StoredStudy) -> None:
    """Fill the folder."""
    pages = _templates()
    for figure in content.figures:  # the layout, which takes most of the time, is the same for screen and print
        figure.drawn.draw_without_rendering()
        figure.drawn.set_layout_engine("none")
    (folder / "index.html").write_text(pages.get_template("page.html.jinja").render(report=content), encoding="utf-8")
    (folder / "report.md").write_text(pages.get_template("report.md.jinja").render(report=content), encoding="utf-8")
    (folder / "trials.csv").write_text(trials_csv(stored), encoding="utf-8")
    figures = folder / "figures"
    figures.mkdir()
    for figure in content.figures:
        (figures / f"{figure.name}.pdf").write_bytes(figure.as_pdf())
        (figures / f"{figure.name}.png").write_bytes(figure.as_png())
        (figures / f"{figure.name}.csv").write_text(figure.as_csv(), encoding="utf-8")
    to_explore = [figure for figure in content.figures if figure.explore is not None]
    if to_explore:
        from plotly.offline import get_plotlyjs

        page = pages.get_template("explore.html.jinja")
        text = page.render(report=content, figures=to_explore, script=get_plotlyjs())
        (folder / "explore.html").write_text(text, encoding="utf-8")


def _templates() -> jinja2.Environment:
    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("platform.report", "templates"),
        autoescape=lambda name: name is not None and name.endswith(".html.jinja"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters.update(drawing=drawing, chart=chart, text=markdown_text)
    return pages


def drawing(figure: Figure) -> str:
    """The figure to stand in the page: its lines as SVG, or a photograph as pixels on white."""
    says = html.escape(figure.says)
    svg = figure.as_svg()
    if PHOTOGRAPH in svg:
        pixels = base64.b64encode(figure.as_png()).decode()
        return f'<img src="data:image/png;base64,{pixels}" alt="{says}">'
    # Ids are a page's own; those of two drawings may be the same.
    for pattern in (r'\bid="()', r'href="(#)', r"url\((#)"):
        svg = re.sub(pattern, lambda found: f"{found.group()}{figure.name}-", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{says}"', 1)


def chart(figure: Figure) -> str:
    """The figure to explore, without Plotly's script."""
    assert figure.explore is not None
    text: str = figure.explore.to_html(
        full_html=False, include_plotlyjs=False, div_id=f"explore-{figure.name}", config={"responsive": True}
    )
    return text


def markdown_text(text: object) -> str:
    """Text within a line or a cell of Markdown, which means nothing to it."""
    return re.sub(r"([\\`*_{}\[\]<>|#$~])", r"\\\1", " ".join(str(text).split()))
