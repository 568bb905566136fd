"""Draws the picture of the README: the raster of emergence in the demo's report, as a browser shows it.

Run as `make pictures` after `make demo`; needs Chromium.
"""

import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

from saltus import api
from saltus.demo import DEMO

PICTURES = Path(__file__).parent
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def main() -> None:
    """Open the demo's report and take a picture of its raster."""
    report = api.report([api.find(DEMO.run_id)], PICTURES.parent.parent / api.DEFAULT_ROOT / "picture.html")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1000, "height": 900}, device_scale_factor=1.5)
        page.goto(report.as_uri())
        page.wait_for_selector("figure .main-svg")
        page.locator("figure", has=page.locator(".main-svg")).first.screenshot(path=PICTURES / "demo.png")
        browser.close()
    report.unlink()


if __name__ == "__main__":
    main()
