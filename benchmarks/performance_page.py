"""The performance table and figure of docs/speed.md, from the results of `peers.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "peers.json"
FIGURE = ROOT / "docs" / "images" / "performance.png"
PAGE = ROOT / "docs" / "speed.md"
START, END = "<!-- performance: benchmarks/performance_page.py -->", "<!-- /performance -->"
POSTERIOR = {
    "alliance, nuts": "posterior",
    "alliance, instant": "posterior",
    "bambi": "posterior",
    "PyMC, not centred": "posterior",
    "statsmodels (REML)": "estimates",
    "lme4 (REML)": "estimates",
    "rstanarm": "posterior",
    "brms": "posterior",
}
STYLES = {
    "alliance, nuts": ("#0072B2", "-", "o"),
    "alliance, instant": ("#009E73", "--", "s"),
    "bambi": ("#E69F00", "-.", "^"),
    "PyMC, not centred": ("#CC79A7", ":", "v"),
    "statsmodels (REML)": ("#000000", (0, (5, 1)), "D"),
}


def table_text(record: dict[str, Any]) -> str:
    """Markdown of the table, with what it was measured on.

    Parameters
    ----------
    record : dict
        As `peers.py` writes it.
    """
    base = record["programs"]["alliance, nuts"]["again"]
    lines = [
        "| Program | Gives | First fit, s | Next fits, s | Ratio |",
        "|---|---|---|---|---|",
    ]
    skipped = []
    for name, own in record["programs"].items():
        if "skipped" in own:
            skipped.append(name)
            continue
        lines.append(
            f"| {name} | {POSTERIOR[name]} | {own['first']:.2f} | {own['again']:.2f} | "
            f"{own['again'] / base:.1f} |"
        )
    calibration, versions = record["calibration"], record["versions"]
    told = ", ".join(
        f"{name} {versions[name]}"
        for name in ("python", "alliance", "pymc", "nutpie", "bambi", "statsmodels", "simuk")
    )
    missing = f" Not measured: {', '.join(skipped)}." if skipped else ""
    lines += [
        "",
        "182 simulated patients, 12 therapists, intercepts and alliance slopes by therapist, "
        "4 x 1,000 draws. A first fit includes compiling; later ones have other outcomes. The "
        "ratio is of later fits, to alliance by NUTS. One fit of simulation-based calibration: "
        f"{calibration['nuts']:.2f} s by NUTS, {calibration['instant']:.2f} s instant, "
        f"{calibration['simuk']:.1f} s by simuk "
        f"({calibration['simuk'] / calibration['nuts']:.0f} times). "
        f"{record['cores']} cores ({record['machine']['cpu']}), {record['created'][:10]}; "
        f"{told}.{missing}",
    ]
    return "\n".join(lines)


def page_with(text: str, page: str) -> str:
    """The page with this between its marks."""
    before, rest = page.split(START)
    after = rest.split(END)[1]
    return f"{before}{START}\n{text}\n{END}{after}"


def draw(record: dict[str, Any], path: Path) -> None:
    """Seconds of a refit over the number of patients, for every program that was quick enough."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(7, 3.6), layout="constrained")
        panel = figure.subplots()
        for name, (colour, line, marker) in STYLES.items():
            own = [row for row in record["sizes"] if row["program"] == name]
            panel.plot(
                [row["patients"] for row in own],
                [row["seconds"] for row in own],
                color=colour, linestyle=line, marker=marker, markersize=5, label=name,
            )  # fmt: skip
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xlabel("patients (a hundredth as many therapists, 12 at least)")
        panel.set_ylabel("seconds of a fit after the first")
        panel.legend(frameon=False, fontsize=8.5)
        panel.grid(color="0.9", linewidth=0.6)
        figure.savefig(path, dpi=150)


def main() -> int:
    record = json.loads(RESULTS.read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(page_with(table_text(record), page), encoding="utf-8")
    draw(record, FIGURE)
    print(f"Written: {PAGE.relative_to(ROOT)}, {FIGURE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
