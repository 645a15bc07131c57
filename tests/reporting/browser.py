"""A real headless Chromium that tests open pages with; they are skipped, with the reason, where there is none."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

WANTED = {
    "Chromium (apt install chromium)": CHROMIUM,
    "playwright (pip install playwright)": importlib.util.find_spec("playwright"),
}
MISSING = [name for name, there in WANTED.items() if there is None]

needs_chromium = pytest.mark.skipif(
    bool(MISSING), reason=f"MLflow's pages are not opened: no {' and no '.join(MISSING)}"
)

WAIT_SECONDS = 120
"""Longest wait for what a page shows; on 2 busy cores MLflow's pages take about 10 s."""


@contextlib.contextmanager
def page(*, width: int = 1280, height: int = 800) -> Iterator[Any]:
    """A playwright page. width and height: in pixels."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        # Chromium's own sandbox needs rights that containers and root have not; the pages are this machine's own.
        chromium = player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            opened = chromium.new_page(viewport={"width": width, "height": height})
            opened.set_default_timeout(WAIT_SECONDS * 1000)
            yield opened
        finally:
            chromium.close()
