"""The report as files: a page that needs no network, text, figures for print, and a page of figures to explore.

Names and messages in a study are strangers' text: Jinja writes them as text, and the page allows no script.
"""

from __future__ import annotations

import base64
import html
import io
import re
from pathlib import Path

import jinja2
from PIL import Image

from platform.figures.figure import Figure
from platform.figures.look import FULL_WIDTH
from platform.report.content import Content
from platform.report.trials_csv import trials_csv
from platform.stored_study import StoredStudy

SMALLEST_REM_PER_INCH = 4.7  # type of 8 points is then 8 pixels high
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
    if any(figure.explore is not None for figure in content.figures):
        from plotly.offline import get_plotlyjs

        page = pages.get_template("explore.html.jinja")
        text = page.render(report=content, script=get_plotlyjs())
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
    says, width = html.escape(figure.says), _width(figure)
    svg = figure.as_svg()
    if PHOTOGRAPH in svg:
        pixels = base64.b64encode(_webp(figure)).decode()
        return f'<img src="data:image/webp;base64,{pixels}" alt="{says}" style="{width}">'
    # Ids are a page's own; those of two drawings may be the same.
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{figure.name}-", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{says}" style="{width}"', 1)


def _width(figure: Figure) -> str:
    """As wide in the page as in print, but never too small to be read."""
    inches = float(figure.drawn.get_figwidth())
    return f"width:max({100 * inches / FULL_WIDTH:.0f}%,{SMALLEST_REM_PER_INCH * inches:.0f}rem)"


def _webp(figure: Figure) -> bytes:
    """The drawing as pixels on white, in a fifth of the bytes of PNG."""
    content = io.BytesIO()
    Image.open(io.BytesIO(figure.as_png())).convert("RGB").save(content, "webp", quality=85)
    return content.getvalue()


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
