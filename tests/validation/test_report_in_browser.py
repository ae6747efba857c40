"""The report of the headache trial in a browser: read on every screen, and on paper.

It needs Chromium and Playwright, which drives it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import alliance as al

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is absent")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is absent")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.validation,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is absent"),
]
WIDTHS = (1280, 1000, 500)
# A4 within the style sheet's margins of 13 and 16 mm, in the 96 dots to an inch of a browser
PAPER = (round((210 - 26) / 25.4 * 96), round((297 - 32) / 25.4 * 96))
MOST_BYTES = 5_000_000
BEYOND = """() => [...document.querySelectorAll("body *")].filter((own) =>
  !own.closest(".scroll, svg") && !own.classList.contains("skip") &&
  own.getBoundingClientRect().right > document.documentElement.clientWidth + 1).length"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Iterator[Any]:
    """A page of the browser that shows the report."""
    trial = al.study("headache").read(shared_data / "acupuncture_vickers2004.csv")
    run = al.fit(trial, engine="instant", progress=False)
    path = run.report(tmp_path_factory.mktemp("report") / "report.html")
    assert path.stat().st_size < MOST_BYTES
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page()
        opened.goto(path.as_uri())
        yield opened
        browser.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_cut_and_axe_finds_no_fault(page: Any, width: int, scheme: str) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(media="screen", color_scheme=scheme)
    assert page.evaluate(BEYOND) == 0
    found = axe.Axe().run(page)
    assert [each["id"] for each in found.response["violations"]] == []


def test_the_first_printed_page_has_question_sentences_table_and_figure(page: Any) -> None:
    page.set_viewport_size(dict(zip(("width", "height"), PAPER, strict=True)))
    page.emulate_media(media="print")
    for part in ("#question ul", "#question table", "#question figure"):
        box = page.locator(part).first.bounding_box()
        assert box["y"] + box["height"] <= PAPER[1], part
    start = page.locator("section.appendix").first.bounding_box()
    assert start["y"] < 12 * PAPER[1]
