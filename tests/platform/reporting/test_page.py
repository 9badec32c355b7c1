"""The page of a report: it is whole, runs nothing, loads nothing, and can be read by anybody."""

import itertools
import re
from html.parser import HTMLParser
from typing import Any, Literal

import pytest

from tests.platform.browser import opened_page

VOID = {"meta", "img", "br", "hr", "input", "link"}
STRANGE = "<script>alert(1)</script>"


class Page(HTMLParser):
    """A page's elements, checked for balance on the way."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_balanced_and_loads_nothing(written: dict[str, Any]) -> None:
    page = Page((written["out"] / "index.html").read_text())
    tags = [tag for tag, _ in page.elements]
    assert "script" not in tags
    assert "iframe" not in tags
    for tag, attributes in page.elements:
        for key, value in attributes.items():
            assert not key.startswith("on"), f"<{tag} {key}> would run a script"
            if key in ("src", "href", "xlink:href", "action", "srcset", "style"):
                assert "http" not in str(value)
                assert "//" not in str(value)
    assert "@import" not in (written["out"] / "index.html").read_text()


def test_headings_are_in_order_and_each_table_has_headers(written: dict[str, Any]) -> None:
    page = Page((written["out"] / "index.html").read_text())
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))
    assert all("scope" in attributes for tag, attributes in page.elements if tag == "th")
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_a_name_that_is_markup_stays_text_in_every_file(written: dict[str, Any]) -> None:
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in (written["out"] / "index.html").read_text()
    for name in ("index.html", "explore.html", "report.md"):
        text = (written["out"] / name).read_text()
        if name == "report.md":
            text = re.sub(r"^    .*$", "", text, flags=re.M)  # a block of code
        assert STRANGE not in text.replace(r"\<", "")
        assert "<img src=x" not in text.replace(r"\<", "")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_whole_in_a_browser(written: dict[str, Any], scheme: Literal["dark", "light"], width: int) -> None:
    loaded: list[str] = []
    with opened_page(width, scheme) as page:
        from axe_playwright_python.sync_playwright import Axe

        page.on("request", lambda request: loaded.append(request.url))
        page.on("dialog", lambda dialog: loaded.append(dialog.message))
        page.goto((written["out"] / "index.html").as_uri())
        page.locator("summary").click()
        root = page.evaluate("(({scrollWidth, clientWidth}) => [scrollWidth, clientWidth])(document.documentElement)")
        sizes = page.evaluate(
            "[...document.querySelectorAll('svg[role], img')].map(e => e.getBoundingClientRect().height)"
        )
        found = Axe().run(page).response["violations"]
    assert root[0] <= root[1]
    assert len(sizes) == len(written["json"]["figures"])
    assert min(sizes) > 0
    assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")] == []
    assert len(loaded) == 1


@pytest.mark.slow
def test_figures_to_explore_are_drawn_without_a_network(written: dict[str, Any]) -> None:
    troubles: list[str] = []
    with opened_page() as page:
        page.on("pageerror", lambda trouble: troubles.append(str(trouble)))
        page.on("dialog", lambda dialog: troubles.append(dialog.message))
        page.goto((written["out"] / "explore.html").as_uri())
        page.wait_for_selector(".js-plotly-plot .main-svg")
        drawn = page.locator(".js-plotly-plot").count()
        width = page.evaluate("document.documentElement.scrollWidth")
    assert troubles == []
    assert drawn == len(re.findall(r'class="chart"', (written["out"] / "explore.html").read_text()))
    assert width <= 1280
