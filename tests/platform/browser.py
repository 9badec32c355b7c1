"""A real browser for tests that look at pages; without one they are skipped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page


@contextmanager
def opened_page(width: int = 1280, scheme: Literal["dark", "light"] = "light") -> Iterator[Page]:
    """An empty page of Chromium, without a window; the browser ends with the context."""
    chromium = shutil.which("chromium") or pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            yield browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        finally:
            browser.close()
