"""The explorer in a browser: 40 questions to four runs, and what a page owes to whoever reads it.

They need Chromium and Playwright, which drives it.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from explorer_queries import Query, Table, address, cells, differences, printed
from typer.testing import CliRunner

import alliance as al
from alliance.cli.app import app
from alliance.data_prep.simulator.simulation import simulate_trial, write_simulated

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is absent")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is absent")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.validation,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is absent"),
]
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
FITS: dict[str, dict[str, Any]] = {
    "gaussian": {"outcome": "pain", "engine": "instant"},
    "ordinal": {"outcome": "gpe", "engine": "instant", "model": {"likelihood": "native"}},
    "beta_binomial": {
        "outcome": "function",
        "engine": "instant",
        "model": {"likelihood": "native"},
    },
    "joint": {"outcome": ["pain", "gpe"], "model": {"joint": True}},
}
TABLES = {
    "contrasts": "effect",
    "arms": "arms",
    "decisions": "benefit",
    "patient": "patient",
    "patient_contrasts": "patient-2",
}
READ = """(name) => {
  const table = document.getElementById(`table-${name}`);
  const text = (cell) => cell.textContent.replaceAll("\\u2212", "-");
  const heads = [...table.querySelectorAll("thead th")].map(text);
  return [...table.querySelectorAll("tbody tr")].map((row) =>
    Object.fromEntries([...row.children].map((cell, k) => [heads[k], text(cell)])));
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated trial, a run of each kind, and the explorer of each."""
    place = tmp_path_factory.mktemp("explored")
    write_simulated(simulate_trial(seed=5), place / "trial.csv")
    trial = al.study(place / "study.toml").read(place / "trial.csv")
    for name, asked in FITS.items():
        run = al.fit(trial, profile="ci", draws=400, seed=7, progress=False, **asked)
        run.save(place / name).explore(place / f"{name}.html")
    return place


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield opened
        opened.close()


class Watched:
    """A page, what it asked for, and what it complained of."""

    def __init__(self, browser: Any, file: Path, **settings: Any) -> None:
        self.context = browser.new_context(**settings)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda told: self.complaints.append(told.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("html[data-ready]", state="attached")

    def ask(self, hash_: str) -> None:
        self.page.evaluate("(hash) => { location.hash = hash; }", hash_)
        self.page.wait_for_timeout(50)  # the page answers in the next task
        assert self.page.evaluate("location.hash") == hash_

    def until(self, expression: str) -> None:
        """Wait; Playwright's own way evaluates text, which the page's policy forbids."""
        for _ in range(100):
            if self.page.evaluate(expression):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"never true: {expression}")

    def table(self, name: str) -> Table:
        found: Table = self.page.evaluate(READ, TABLES[name])
        return found


def ten(fit: Any) -> list[Query]:
    """Ten questions to a run, by every control."""
    found = []
    for k in range(10):
        name = fit.outcomes[k % len(fit.outcomes)]
        posterior = fit[name]
        low, high = posterior.outcome.range
        ids = posterior.design.therapists
        found.append(
            Query(
                name,
                (66.0, 72.5, 80.0, 88.25, 92.0, 97.0, 104.5, 111.0, 40.0, 91.0)[k],
                ("average", "new", ids[k % len(ids)])[k % 3],
                by=(0.5, 0.25, 1.0, -0.5)[k % 4],
                at_least=round((low + high) / 2) if k % 2 else None,
                at_most=low + 2 if k % 5 == 3 else None,
                baseline=low + 6 if posterior.design.has_baseline and k % 3 else None,
            )
        )
    return found


@pytest.mark.parametrize("name", FITS)
def test_ten_questions_have_the_numbers_of_the_commands(
    name: str, folder: Path, browser: Any
) -> None:
    """Every cell of every table is what the sheet of the command has, to the printed digit."""
    fit = al.load(folder / name).fit
    watched = Watched(browser, folder / f"{name}.html")
    compared = 0
    for query in ten(fit):
        watched.ask(address(fit, query))
        command = printed(fit, query)
        page = {each: watched.table(each) for each in command}
        assert differences(page, command) == [], query
        compared += cells(page)
    assert compared > 10 * 80  # five tables of three to six rows
    assert watched.complaints == []
    assert {each.split("#")[0] for each in watched.asked} <= {
        (folder / f"{name}.html").as_uri(), "data:,",
    }  # fmt: skip


@pytest.mark.parametrize("name", FITS)
def test_the_command_below_a_table_prints_it(name: str, folder: Path, browser: Any) -> None:
    fit = al.load(folder / name).fit
    watched = Watched(browser, folder / f"{name}.html")
    query = ten(fit)[3]  # with a threshold and scores to reach, of an average therapist
    watched.ask(address(fit, query))
    for view, tables in {"effect": ["contrasts", "arms"], "patient": ["patient"]}.items():
        told = watched.page.inner_text(f"#command-{view} code")
        program, *words = shlex.split(told.replace("RUN", str(folder / name)))
        assert program == "alliance"
        answer = CliRunner(env={"COLUMNS": "400"}).invoke(app, words)
        assert answer.exit_code == 0, answer.stderr
        lines = [re.split(r"\s*[│┃]\s*", line.strip("│┃ ")) for line in answer.stdout.splitlines()]
        for row in (row for each in tables for row in watched.table(each)):
            numbers = set(list(row.values())[1:])  # a screen may name arms by their codes
            assert any(numbers <= set(line) for line in lines), (told, row)


def test_every_control_is_reached_by_the_keyboard(folder: Path, browser: Any) -> None:
    watched = Watched(browser, folder / "gaussian.html", viewport={"width": 1280, "height": 900})
    page = watched.page
    count = page.evaluate(
        """() => {
          document.getElementById("control-patient").open = true;
          const all = [...document.querySelectorAll(
            "a[href], select, input, button, summary, [tabindex='0']")];
          const shown = all.filter((each) => each.checkVisibility());
          shown.forEach((each, k) => { each.dataset.stop = k; });
          return shown.length;
        }"""
    )
    reached = []
    for _ in range(count + 5):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.dataset.stop"))
    assert count > 30  # 12 controls; of seven views the buttons, tables and explanations
    assert set(map(str, range(count))) <= set(reached)
    assert reached[0] == "0"  # to the answers, past the controls
    assert page.get_attribute("[data-stop='0']", "id") == "skip"
    before = page.input_value("#alliance")
    page.focus("#alliance-slider")
    page.keyboard.press("ArrowRight")
    assert float(page.input_value("#alliance")) > float(before)
    watched.until("document.getElementById('said').textContent !== ''")
    assert page.inner_text("#sentence-effect") == page.text_content("#said")


def test_the_address_restores_a_view(folder: Path, browser: Any) -> None:
    watched = Watched(browser, folder / "gaussian.html")
    page = watched.page
    page.fill("#alliance", "81.5")
    page.fill("#by", "0.75")
    page.select_option("#therapist", "new")
    watched.until("location.hash.includes('therapist=new')")
    asked, told = page.inner_text("#asked"), watched.table("contrasts")
    other = Watched(browser, folder / "gaussian.html")
    other.ask(page.evaluate("location.hash"))
    assert other.page.inner_text("#asked") == asked
    assert other.table("contrasts") == told
    other.ask("#outcome=nothing&alliance=9999&therapist=known+99")
    problem = other.page.inner_text("#problem")
    assert all(word in problem for word in ("nothing", "9999", "known 99"))


def test_a_drag_is_answered_before_the_band_is_known(folder: Path, browser: Any) -> None:
    """Beyond the curve, whose band holds for all that is drawn, the band follows the hand."""
    fit = al.load(folder / "gaussian").fit
    watched = Watched(browser, folder / "gaussian.html", viewport={"width": 1280, "height": 900})
    query = Query("pain", fit["pain"].observed_alliance[0], by=0.5)  # the lowest that was seen
    watched.page.fill("#by", "0.5")
    moving = watched.page.evaluate(
        f"""(value) => {{
          const slider = document.getElementById("alliance-slider");
          slider.value = value;
          slider.dispatchEvent(new Event("input"));
          return ({READ})("effect");
        }}""",
        query.alliance,
    )
    wanted = printed(fit, query)["contrasts"]
    assert [row.pop("95% band") for row in moving] == ["\u2026"] * len(wanted)
    assert moving == [{k: v for k, v in row.items() if k != "95% band"} for row in wanted]
    watched.until("!document.getElementById('table-effect').textContent.includes('\u2026')")
    assert watched.table("contrasts") == wanted
    watched.until("document.getElementById('table-patient').rows.length > 0")  # the last view


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_page_is_for_everybody(width: int, scheme: str, folder: Path, browser: Any) -> None:
    """No serious issue of axe-core; nothing is wider than a phone; print has no control."""
    size = {"width": width, "height": 844}
    watched = Watched(browser, folder / "joint.html", viewport=size, color_scheme=scheme)
    watched.ask("#outcome=pain&alliance=40&extrapolate=yes&threshold=1")
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= width
    found = axe.Axe().run(watched.page).response["violations"]
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in serious] == []
    assert watched.page.is_visible("#extrapolated")
    watched.page.emulate_media(media="print")
    assert not watched.page.is_visible("#controls")
    assert watched.page.is_visible("#asked")
    assert len(watched.page.pdf()) > 10_000
    assert "SIMULATED" in watched.page.inner_text("header")
