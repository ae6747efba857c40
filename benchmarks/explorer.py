"""Size of the demo's explorer, and how soon a browser opens it and answers a drag.

    uv run python benchmarks/explorer.py

The demo's trial, four outcomes and three arms, by the instant engine with the draws of `standard`.
A page is opened anew several times; then, from the moment of its opening on, the alliance's slider
is moved through all that was observed, and beyond it, a step at a time. An answer is there when the
browser has laid out tables and pictures anew and may paint.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright
from reporting import Target, console, finish, parser, spread, table, versions

import alliance as al

SIZE, OPENED, ANSWERED = 3e6, 1.5, 50.0  # bytes, seconds, milliseconds that are promised
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
REPEATS = 5
DRAG = """async () => {
  const slider = document.getElementById("alliance-slider"), found = [];
  const [low, high] = [slider.min, slider.max].map(Number);
  for (let value = low; value <= high; value += (high - low) / 100) {
    slider.value = value;
    const start = performance.now();
    slider.dispatchEvent(new Event("input"));
    document.body.offsetHeight;
    await new Promise(requestAnimationFrame);
    found.push(performance.now() - start);
  }
  return found;
}"""


def opened(browser: Any, page: Path) -> tuple[float, Any]:
    """Seconds until a page answers, in a context of its own, and the page."""
    found = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    start = time.perf_counter()
    found.goto(page.as_uri())
    found.wait_for_selector("html[data-ready]", state="attached")
    return time.perf_counter() - start, found


def main() -> int:
    """Measure, print, and hold against what is promised."""
    options = parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as place:
        page = Path(place) / "explorer.html"
        trial = al.simulate(seed=2013)
        start = time.perf_counter()
        al.fit(trial, engine="instant", progress=False).explore(page)
        wrote, size = time.perf_counter() - start, page.stat().st_size
        with sync_playwright() as started:
            browser = started.chromium.launch(
                executable_path=shutil.which("chromium"), args=list(FLAGS)
            )
            times = []
            for _ in range(REPEATS):
                seconds, shown = opened(browser, page)
                times.append(seconds)
            within = shown.evaluate(DRAG)
            shown.check("#beyond")
            beyond = shown.evaluate(DRAG)
            browser.close()
    tail = statistics.quantiles(within, n=20)[-1]
    rows = [
        ("size, MB", f"{size / 1e6:.2f}"),
        ("fit and write, s", f"{wrote:.1f}"),
        ("open, s", spread(times)),
        ("drag within the observed range, ms", f"{spread(within, 0)}; 95%: {tail:.0f}"),
        ("drag through all that can be rated, ms", spread(beyond, 0)),
    ]
    out = console()
    out.print(table("The demo's explorer: median (least to greatest)", ["", "measured"], rows))
    targets = [
        Target("size", size / 1e6, SIZE / 1e6, "MB"),
        Target("open", statistics.median(times), OPENED),
        Target("drag", statistics.median(within), ANSWERED, "ms"),
    ]
    figures = {"size": size, "open": times, "within": within, "beyond": beyond}
    return finish(out, targets, figures, versions("playwright"), options.out)


if __name__ == "__main__":
    raise SystemExit(main())
