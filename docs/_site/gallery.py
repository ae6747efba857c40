"""The gallery: every figure, drawn when the site is built by the command that stands below it.

The trial is simulated and fitted by the instant engine. Drawing all of them takes longer than the
rest of the site, so that figures of an earlier build serve as long as no source file has changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from alliance.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("alliance", "data_prep", "models", "inference", "diagnostics")
FIT = "alliance fit study.toml trial.csv --engine instant --profile ci"
SETTING = (
    "alliance simulate trial.csv",
    f"{FIT} --out run",
    f"{FIT} --outcome pain --out with",
    f"{FIT} --outcome pain --no-interaction --out without",
)


@dataclass(frozen=True, slots=True)
class Shown:
    """A figure of the gallery.

    Attributes
    ----------
    function : str
        The function of `diagnostics.figures` that draws it.
    title, about : str
    command : str
        Draws it into ``FUNCTION.png``; empty for those that a report alone has.
    """

    function: str
    title: str
    about: str
    command: str

    @property
    def file(self) -> str:
        """Name of the picture."""
        return f"{self.function}.png"


CHAPTERS: dict[str, tuple[Shown, ...]] = {
    "Results": (
        Shown(
            "flow_figure",
            "The flow of patients",
            "As the CONSORT statement draws it, of what the data file tells.",
            "",
        ),
        Shown(
            "answers_figure",
            "The report's first picture",
            "Contrasts of the arms and differences of slopes, all outcomes on one scale; to the "
            "right is better.",
            "",
        ),
        Shown(
            "comparison_figure",
            "Published, refitted and posterior",
            "What a paper printed, least squares, REML and the posterior on each outcome's scale.",
            "alliance compare run",
        ),
        Shown(
            "contrast_figure",
            "Contrasts of all outcomes",
            "In SDs of each outcome, turned so that to the right is better.",
            "alliance summary run",
        ),
    ),
    "Answers": (
        Shown(
            "effect_figure",
            "Arms compared along the alliance",
            "The difference with its interval (dark) and band (light), and the chance of a benefit "
            "of a point. The ticks are the patients' ratings.",
            "alliance effects run --outcome gpe --contrast MCE-GE --threshold 1",
        ),
        Shown(
            "score_figure",
            "Expected scores along the alliance",
            "One curve for each arm, averaged over the analysed patients.",
            "alliance effects run --outcome gpe --plot score",
        ),
        Shown(
            "best_figure",
            "Which arm is best",
            "The chance of each arm to have the best expected score.",
            "alliance effects run --outcome gpe --plot best",
        ),
        Shown(
            "prediction_figure",
            "One patient in every arm",
            "Expected score, and where a single patient's score may lie.",
            "alliance predict run --outcome pain --alliance 60:110:10 --baseline 6",
        ),
        Shown(
            "therapist_figure",
            "Therapists",
            "Effects with intervals, best first, beside each therapist's mean alliance.",
            "alliance therapists run --outcome gpe",
        ),
        Shown(
            "course_figure",
            "If those who left had gone on otherwise",
            "Means and contrasts under an assumption about scores that were not seen; with several "
            "visits, over time.",
            "alliance missing run --outcome pain --assume j2r --reference GE",
        ),
    ),
    "Checks": (
        Shown(
            "prior_figure",
            "What the priors expect",
            "Before the outcomes are looked at: scores, and sizes of effects.",
            "alliance prior study.toml trial.csv --outcome gpe",
        ),
        Shown(
            "distribution_figure",
            "Replicated data",
            "Observed scores beside those that the model produces, over all patients and by arm.",
            "alliance ppc run --outcome pain",
        ),
        Shown(
            "therapist_means_figure",
            "Replicated therapists",
            "Each therapist's mean score beside its replicates.",
            "alliance ppc run --outcome pain --plot therapists",
        ),
        Shown(
            "statistics_figure",
            "Statistics of replicated data",
            "Every statistic of the checks with its replicates.",
            "alliance ppc run --outcome pain --plot statistics",
        ),
        Shown(
            "loo_figure",
            "Patients left out",
            "Pareto k of each patient, and whether left-out scores lie where they are predicted.",
            "alliance loo run --outcome pain",
        ),
        Shown(
            "pareto_k_figure",
            "Therapists left out",
            "Pareto k of each therapist.",
            "alliance loo run --outcome pain --by therapist",
        ),
        Shown(
            "elpd_figure",
            "Which of two fits predicts better",
            "Differences of expected log predictive density, patient by patient.",
            "alliance loo with without",
        ),
        Shown(
            "power_scaling_figure",
            "Prior or data",
            "How far each quantity moves when a prior, or the likelihood, weighs more.",
            "alliance sensitivity run --outcome gpe",
        ),
        Shown(
            "prior_refits_figure",
            "Other priors",
            "All prior scales halved and doubled, fitted again.",
            "alliance sensitivity run --outcome gpe --kind refits",
        ),
        Shown(
            "influence_figure",
            "Single patients and therapists",
            "How far results move without each of them.",
            "alliance sensitivity run --outcome gpe --kind influence",
        ),
        Shown(
            "unseen_improvement_figure",
            "An improvement that nobody saw",
            "How strong it would have to be to carry the alliance's slope to zero.",
            "alliance sensitivity run --outcome gpe --kind unseen",
        ),
    ),
    "Planning, and many fits": (
        Shown(
            "assurance_figure",
            "How large must a trial be",
            "The chance that a trial convinces, by its size.",
            "alliance assurance ferreira2013 --outcome pain --contrast MCE-GE --patients 120,240 "
            "--therapists 12 --interaction 0,0.6 --trials 10 --seed 1 --store assurance.sqlite",
        ),
        Shown(
            "rank_figure",
            "Simulation-based calibration",
            "Shares of posteriors below the truth, less those of even ones, with a band that even "
            "ones leave nowhere in 95 of 100 cases.",
            "alliance calibrate ferreira2013 --outcome pain --trials 30 --store calibration.sqlite",
        ),
        Shown(
            "multiverse_figure",
            "The multiverse",
            "Every defensible analysis by the size of its estimate, and the choices below it.",
            "alliance multiverse study.toml trial.csv --outcome gpe --vary therapist "
            "--vary covariates --vary prior_scale --vary patients --quantity interaction:MCE-GE",
        ),
    ),
    "Printed numbers alone": (
        Shown(
            "paper_figure",
            "A paper without data",
            "NOT SIMULATED: what the parent trial of 2007 printed, under named priors and with "
            "therapists that it may have ignored.",
            "alliance paper ferreira2013",
        ),
    ),
}


def gallery(folder: Path) -> str:
    """Markdown of the gallery, whose pictures are drawn into the folder where they are not there.

    Parameters
    ----------
    folder : Path
        For the pictures, in `docs/_generated`; the page that includes this part is in `docs`.
    """
    shown = [each for chapter in CHAPTERS.values() for each in chapter]
    stamp = folder / "sources.sha256"
    digest = _sources()
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != digest:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        stamp.write_text(digest, encoding="utf-8")
    missing = [each for each in shown if not (folder / each.file).is_file()]
    if missing:
        _draw(missing, folder)
    lines = []
    for chapter, figures in CHAPTERS.items():
        lines.append(f"## {chapter}\n")
        for each in figures:
            alt = f"{each.title}. {each.about}"
            command = f"{each.command} --figure {each.file}" if each.command else REPORT
            lines += [f"### {each.title}\n", f"{each.about}\n", f"```sh\n{command}\n```\n"]
            lines.append(f"![{alt}](_generated/{folder.name}/{each.file})\n")
    return "\n".join(lines)


REPORT = "alliance report run"


def _sources() -> str:
    """A digest of everything that may change a figure."""
    files = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.*"))
    found = hashlib.sha256(Path(__file__).read_bytes())
    for path in files:
        if path.suffix in (".py", ".toml"):
            found.update(path.read_bytes())
    return found.hexdigest()


def _draw(shown: list[Shown], folder: Path) -> None:
    from alliance.diagnostics.figures.results_figures import save_figure

    with _workplace() as place:
        for command in SETTING:
            _run(command)
        for each in shown:
            if each.command:
                _run(f"{each.command} --figure {each.file}")
            else:
                save_figure(_of_the_report(each.function), each.file)
            shutil.copy(place / each.file, folder / each.file)


def _of_the_report(function: str) -> Figure:
    import alliance as al
    from alliance.diagnostics.figures.flow_figure import flow_figure
    from alliance.diagnostics.figures.results_figures import answers_figure
    from alliance.diagnostics.report.material import Material

    material = Material(al.load("run").fit)
    if function == "answers_figure":
        return answers_figure(material.fit, material.summary)
    found = material.characteristics
    if found is None:
        raise RuntimeError("the run keeps no characteristics of its patients")
    return flow_figure(material.fit, found)


def _run(command: str) -> None:
    from typer.testing import CliRunner

    answer = CliRunner().invoke(app, shlex.split(command)[1:])
    if answer.exit_code != 0:
        raise RuntimeError(f"{command}\n{answer.output}\n{answer.exception}")


@contextlib.contextmanager
def _workplace() -> Iterator[Path]:
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        try:
            yield Path(name)
        finally:
            os.chdir(before)
