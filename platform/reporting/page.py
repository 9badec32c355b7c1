"""Write the files of a report: a self-contained web page, text, figures for print, and a page of interactive figures.

Names and messages in a study are untrusted: Jinja escapes them, and the page's policy forbids scripts.
"""

from __future__ import annotations

import base64
import html
import io
import re
from pathlib import Path

import jinja2
from PIL import Image

from platform.read_only_study import StoredStudy, num_epochs
from platform.reporting.content import Content
from platform.reporting.figures.figure import Figure
from platform.reporting.figures.look import FULL_WIDTH
from platform.reporting.figures.trials import distributions_of
from platform.trial_record import TrialRecord
from shards_tools.plain_text import csv_text, markdown_text

SMALLEST_REM_PER_INCH = 4.7  # an 8-point font is then 8 pixels high
# Of trials.csv, before the settings and metrics.
TRIAL_COLUMNS = ("number", "state", "baseline", "started", "ended", "epochs", "seconds", "attempts", "reason")
PHOTOGRAPH = "<image"  # in the SVG of a figure with pixels, which is embedded as one image


def write_report(folder: Path, content: Content, stored: StoredStudy) -> None:
    """Write all files of a report to an empty folder."""
    pages = _templates()
    for figure in content.figures:  # compute the layout, the slowest part, once for all formats
        figure.plot.draw_without_rendering()
        figure.plot.set_layout_engine("none")
    (folder / "index.html").write_text(pages.get_template("page.html.jinja").render(report=content), encoding="utf-8")
    (folder / "report.md").write_text(pages.get_template("report.md.jinja").render(report=content), encoding="utf-8")
    (folder / "trials.csv").write_text(trials_csv(stored), encoding="utf-8")
    figures = folder / "figures"
    figures.mkdir()
    for figure in content.figures:
        (figures / f"{figure.name}.pdf").write_bytes(figure.as_pdf())
        (figures / f"{figure.name}.png").write_bytes(figure.as_png())
        (figures / f"{figure.name}.csv").write_text(figure.as_csv(), encoding="utf-8")
    if any(figure.interactive is not None for figure in content.figures):
        from plotly.offline import get_plotlyjs

        page = pages.get_template("explore.html.jinja")
        text = page.render(report=content, script=get_plotlyjs())
        (folder / "explore.html").write_text(text, encoding="utf-8")


def _templates() -> jinja2.Environment:
    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("platform.reporting", "templates"),
        autoescape=lambda name: name is not None and name.endswith(".html.jinja"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters.update(image=image, chart=chart, text=markdown_text)
    return pages


def image(figure: Figure) -> str:
    """Return the HTML of a figure: SVG, or a WebP image on white if it has pixels."""
    caption, width = html.escape(figure.caption), _width(figure)
    svg = figure.as_svg()
    if PHOTOGRAPH in svg:
        pixels = base64.b64encode(_webp(figure)).decode()
        return f'<img src="data:image/webp;base64,{pixels}" alt="{caption}" style="{width}">'
    # Two figures may use the same IDs, which must be unique within a page.
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{figure.name}-", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{caption}" style="{width}"', 1)


def _width(figure: Figure) -> str:
    """Return the CSS width of a figure: the same share of the page as in print, but at least readable."""
    inches = float(figure.plot.get_figwidth())
    return f"width:max({100 * inches / FULL_WIDTH:.0f}%,{SMALLEST_REM_PER_INCH * inches:.0f}rem)"


def _webp(figure: Figure) -> bytes:
    """Render a figure on white as WebP, which takes a fifth of the bytes of PNG."""
    content = io.BytesIO()
    Image.open(io.BytesIO(figure.as_png())).convert("RGB").save(content, "webp", quality=85)
    return content.getvalue()


def chart(figure: Figure) -> str:
    """Return the HTML of the interactive version of a figure, without Plotly's script."""
    assert figure.interactive is not None
    text: str = figure.interactive.to_html(
        full_html=False, include_plotlyjs=False, div_id=f"explore-{figure.name}", config={"responsive": True}
    )
    return text


def trials_csv(stored: StoredStudy) -> str:
    """Return state, settings and metrics of every trial as CSV.

    A parameter that a trial lacks is empty, and a value of None is `none`.
    """
    params = list(distributions_of(stored.trials))
    metrics = list(dict.fromkeys(name for trial in stored.trials for name in TrialRecord(trial).metrics))
    rows = []
    for trial in stored.trials:
        record = TrialRecord(trial)
        times = [time.isoformat() if time else "" for time in (trial.datetime_start, trial.datetime_complete)]
        seconds = record.metrics.get("total_seconds", "")
        row = [trial.number, trial.state.name.lower(), record.baseline, *times, num_epochs(trial), seconds]
        row += [record.attempts or "", record.reason]
        row += ["none" if trial.params.get(name, "") is None else trial.params.get(name, "") for name in params]
        rows.append([*row, *(record.metrics.get(name, "") for name in metrics)])
    columns = [*TRIAL_COLUMNS, *(f"params.{name}" for name in params), *(f"metrics.{name}" for name in metrics)]
    return csv_text(columns, rows)
