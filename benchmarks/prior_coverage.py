"""How often 95% intervals hold the truth under other priors, and how far priors pull.

Trials of three arms are simulated with known effects (`inference.many_fits.assurance`), over
numbers of patients and therapists, crossed and nested, slopes that vary between therapists by 0 to
0.4 residual SDs, and interactions up to 0.8. Each trial is analysed under every candidate prior.

Coefficients and therapist effects are integrated out in closed form, as by the instant engine, and
the SDs are drawn once for all priors: the draws are weighed anew for each. Given the SDs a
coefficient is normal, so that its posterior is a weighted mixture of normals, whose limits need no
further draws.

Least squares without therapists is analysed beside them: what its intervals are short of, and what
the priors' intervals are wider by where slopes do not vary.

Coverage is a share of trials, corrected by regression on how far off each trial's generalised least
squares estimate is when all SDs are known: its z-score is standard normal, whatever the trial, and
says most of whether an interval will hold the truth. A few hundred trials then do the work of many
more, and all candidates see the same ones.

What is done is kept in `--work`, and the same command goes on after a stop.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from reporting import Target, console, finish, parser, table
from rich.console import Console
from scipy import special, stats
from threadpoolctl import threadpool_limits

from alliance.data_prep.study.description import find_study, narrowed, read_study
from alliance.inference.many_fits.assurance import (
    Assumptions,
    AssuranceQuestion,
    Criterion,
    assurance_question,
    planned_trial,
)
from alliance.inference.runs.fit import installed_versions
from alliance.inference.sampling.instant import _fitted, _OneTrial, scale_names
from alliance.models.design.design import Design
from alliance.models.design.encoding import sum_to_zero_basis
from alliance.models.gaussian.gaussian_draws import GaussianDraws, collapse
from alliance.models.priors import Priors

Array = NDArray[np.float64]

SEED = 13
TRIALS = 500
TRIALS_NEAR_THE_LIMIT = 2_000
DRAWS = 2_000  # of the SDs; the limits' Monte Carlo error is below a fiftieth of an SD
SLOPE, BASELINE = 0.3, 0.5  # true in every trial, in residual SDs
USUAL_INTERACTION = 0.3  # true where another quantity is asked about
QUANTITIES = ("slope", "interaction", "arm")
LIMITS = (0.025, 0.975)
SHORT = {"normal": "N", "t4": "t4", "exponential": "exp"}
DEFAULT = 1  # place of the defaults among `SHAPES`
LEAST_COVERAGE, REALISTIC_SD, REALISTIC_INTERACTION = 0.93, 0.3, 0.5
BEYOND = (0.7, 1.3, 1.96, 2.5)  # sizes of the z-score by which coverage is corrected
FLAT = 1e4  # scale of a prior that says nothing
GRID = 101  # points between which a distribution is interpolated, for its limits
PROPOSAL = 0.5  # scale of the SDs' priors that draws are proposed for: between the candidates


@dataclass(frozen=True, slots=True)
class Case:
    """Trials of one kind; SDs and effects in residual SDs.

    Attributes
    ----------
    therapists, patients : int
    nested : bool
    slope_sd, therapist_sd : float
        Between therapists.
    interaction : float
        Difference of the slopes of two arms.
    """

    therapists: int
    patients: int
    nested: bool = False
    slope_sd: float = 0.0
    therapist_sd: float = 0.25
    interaction: float = USUAL_INTERACTION

    @property
    def label(self) -> str:
        """Its name in the file of results."""
        return "/".join(map(str, asdict(self).values()))


@dataclass(frozen=True, slots=True)
class Candidate:
    """Priors of the two SDs between therapists, and of the interaction.

    Attributes
    ----------
    shape : {"normal", "t4", "exponential"}
        Half of a normal or of a t distribution of 4 degrees of freedom, or exponential.
    therapist_sd, slope_sd : float
        Scales; an exponential's mean.
    interaction : float
    """

    shape: str
    therapist_sd: float
    slope_sd: float
    interaction: float

    def log_density(self, values: Mapping[str, Array]) -> Array:
        """Of the SDs between therapists, up to a constant."""
        density = {
            "normal": stats.norm.logpdf,
            "t4": lambda x: stats.t.logpdf(x, 4),
            "exponential": stats.expon.logpdf,
        }[self.shape]
        return np.asarray(
            density(values["therapist_sd"] / self.therapist_sd)
            + density(values["therapist_slope_sd"] / self.slope_sd)
        )


SHAPES = (
    ("normal", 0.3, 0.15),
    ("normal", 0.3, 0.3),
    ("normal", 0.3, 0.45),
    ("normal", 0.5, 0.3),
    ("normal", 0.5, 0.5),
    ("normal", 0.6, 0.45),
    ("t4", 0.3, 0.15),
    ("t4", 0.3, 0.3),
    ("exponential", 0.3, 0.15),
    ("exponential", 0.3, 0.3),
)
CASES = (
    *(Case(j, 180, slope_sd=sd) for sd in (0.0, 0.2, 0.3, 0.4) for j in (3, 6, 12)),
    *(Case(20, 180, slope_sd=sd) for sd in (0.0, 0.4)),
    *(Case(3, n, slope_sd=sd) for n in (60, 1000) for sd in (0.0, 0.4)),
    Case(40, 1000, slope_sd=0.4),
    *(Case(6, 180, nested=True, slope_sd=sd) for sd in (0.0, 0.4)),
    Case(6, 180, nested=True, therapist_sd=0.4),
    Case(40, 400, nested=True, slope_sd=0.4),
    *(Case(12, n, interaction=size) for n in (60, 180) for size in (0.5, 0.8)),
    Case(12, 1000, interaction=0.8),
)
# At the edge of what is realistic coverage of the slope is so near to the least that is asked for
# that few trials do not tell on which side of it: standard error 0.004 instead of 0.015
NEAR_THE_LIMIT = {Case(j, 180, slope_sd=REALISTIC_SD) for j in (3, 6, 12)}


def candidates(case: Case) -> list[Candidate]:
    """Priors that a case is analysed under: other ones of the interaction where that varies."""
    scales = (0.25,) if case.interaction == USUAL_INTERACTION else (0.25, 0.35, 0.5)
    return [Candidate(*shape, scale) for scale in scales for shape in SHAPES]


def question(case: Case) -> AssuranceQuestion:
    """The simulated trial's study with one outcome, and what is true in it."""
    study = narrowed(read_study(find_study("ferreira2013")), outcomes=["pain"])
    truth = Assumptions(SLOPE, BASELINE, case.therapist_sd, case.slope_sd)
    usual = Criterion(0.975, 0.0)
    return assurance_question(study, "MCE-GE", truth, usual, nested=case.nested, seed=SEED)


def weights_of(design: Design) -> Array:
    """Coefficients of `QUANTITIES`, shape (3, p): average slope, and MCE minus GE."""
    found = np.zeros((len(QUANTITIES), len(design.coefficients)))
    found[0, design.coefficients.index("moderator")] = 1.0
    difference = sum_to_zero_basis(len(design.arms))[[1, 0]]
    for k, size in enumerate(difference[0] - difference[1], start=1):
        found[1, design.coefficients.index(f"interaction[{k}]")] = size
        found[2, design.coefficients.index(f"arm[{k}]")] = size
    return found[:, design.present]


def least_squares(design: Design) -> dict[str, list[float]]:
    """Estimates and half widths of 95% intervals, therapists ignored, in residual SDs."""
    X, unit = design.X[:, design.present], design.scaling.outcome[1]
    inverse = np.linalg.inv(X.T @ X)
    estimate = inverse @ X.T @ design.y
    freedom = len(X) - X.shape[1]
    variance = ((design.y - X @ estimate) ** 2).sum() / freedom
    asked = weights_of(design)
    sd = np.sqrt(variance * np.einsum("qp,pr,qr->q", asked, inverse, asked))
    half = stats.t.ppf(LIMITS[1], freedom) * sd
    return {"mean": list(unit * (asked @ estimate)), "half": list(unit * half)}


def known_z(design: Design, case: Case) -> Array:
    """How far off generalised least squares is with the true SDs, in its standard errors."""
    unit = design.scaling.outcome[1]
    spreads = GaussianDraws(
        beta=np.empty((1, 0)),
        residual_sd=np.array([1 / unit]),
        therapist_sd=np.array([case.therapist_sd / unit]),
        therapist_slope_sd=np.array([case.slope_sd / unit]),
        therapist_correlation=np.zeros(1),
    )
    known = collapse(design, spreads, np.full(len(design.coefficients), FLAT))
    asked = weights_of(design)
    sd = np.sqrt((np.linalg.solve(known.factor[0], asked.T) ** 2).sum(axis=0))
    return np.asarray((asked @ known.mean[0] - truth(case) / unit) / sd)


def analysed(case: Case, number: int) -> dict[str, Any]:
    """One trial under every candidate.

    Returns
    -------
    dict
        ``mean, lower, upper`` of shape (candidates, quantities), ``sds`` (candidates, 2) the
        posterior means of the SDs between therapists, all in residual SDs; ``effective`` draws
        (candidates,); ``ols``; ``z`` (quantities,) as of `known_z`.
    """
    design = planned_trial(question(case), case.patients, case.therapists, case.interaction, number)
    generator = np.random.default_rng([SEED, number])
    names, unit = scale_names(design), design.scaling.outcome[1]
    base = Priors(therapist_sd=PROPOSAL, therapist_slope_sd=PROPOSAL)
    proposal = _fitted(_OneTrial(base, names, design), generator)
    at = proposal.draw(DRAWS, generator)
    proposed = proposal.log_density(at)
    asked = weights_of(design)
    mean, lower, upper, sds, effective = [], [], [], [], []
    asked_priors = candidates(case)
    for scale in dict.fromkeys(one.interaction for one in asked_priors):
        target = _OneTrial(replace(base, interaction=scale), names, design)
        spreads = GaussianDraws(beta=np.empty((len(at), 0)), **target.values(at))
        known = collapse(design, spreads, design.prior_sd(target.priors))
        # The proposal's own priors of the two SDs are taken out again
        plain = target.density(at, known) - proposed
        values = target.values(at)
        for name in ("therapist_sd", "therapist_slope_sd"):
            plain = plain + 0.5 * (values[name] / PROPOSAL) ** 2
        own = [one for one in asked_priors if one.interaction == scale]
        log_weights = np.array([plain + one.log_density(values) for one in own])
        weights = np.exp(log_weights - special.logsumexp(log_weights, axis=1, keepdims=True))
        centre = known.mean @ asked.T
        half = np.linalg.solve(known.factor, asked.T[None])
        sd = np.sqrt((half**2).sum(axis=1))
        mean.append(weights @ centre)
        limits = np.stack([_limits(weights, centre[:, q], sd[:, q]) for q in range(len(asked))])
        lower.append(limits[:, 0].T)
        upper.append(limits[:, 1].T)
        both = np.column_stack([values["therapist_sd"], values["therapist_slope_sd"]])
        sds.append(weights @ both)
        effective.append(1 / (weights**2).sum(axis=1))
    whole = {"mean": mean, "lower": lower, "upper": upper, "sds": sds}
    found: dict[str, Any] = {
        name: np.round(unit * np.concatenate(parts), 4).tolist() for name, parts in whole.items()
    }
    found["effective"] = np.round(np.concatenate(effective)).tolist()
    found["z"] = known_z(design, case).round(4).tolist()
    return found | {"ols": least_squares(design)}


def _limits(weights: Array, centre: Array, sd: Array) -> Array:
    """Limits (2, candidates) of mixtures of normals with common parts."""
    place = (weights * centre).sum(axis=1)
    spread = np.sqrt((weights * (sd**2 + centre**2)).sum(axis=1) - place**2)
    # Denser in the middle and far in the tails: a mixture's limits are within some SDs of its mean
    grid = place.mean() + 7 * spread.max() * np.sinh(np.linspace(-2.5, 2.5, GRID)) / np.sinh(2.5)
    below = weights @ special.ndtr((grid - centre[:, None]) / sd[:, None])
    return np.array([[np.interp(limit, row, grid) for row in below] for limit in LIMITS])


def truth(case: Case) -> Array:
    """Of `QUANTITIES`."""
    return np.array([SLOPE, case.interaction, 0.0])


def corrected(covered: Array, z: Array) -> tuple[Array, Array]:
    """Coverage and its standard error, corrected for trials that are far off by chance.

    Parameters
    ----------
    covered : ndarray, shape (trials, ...)
    z : ndarray, shape (trials,)
    """
    beyond = (np.abs(z)[:, None] > np.array(BEYOND)).astype(float)
    expected = 2 * special.ndtr(-np.array(BEYOND))
    off = np.column_stack([np.ones(len(z)), beyond - expected])
    flat = covered.reshape(len(z), -1).astype(float)
    fitted = np.linalg.lstsq(off, flat)[0]
    left = flat - off @ fitted
    # Half a trial more of either kind: no share is known without error
    error = np.sqrt(((left**2).sum(axis=0) + 0.5) / len(z) / max(len(z) - off.shape[1], 1))
    shape = covered.shape[1:]
    return fitted[0].reshape(shape), error.reshape(shape)


def summary(case: Case, trials: list[dict[str, Any]]) -> dict[str, Any]:
    """Coverage, mean estimate and mean width of each candidate, and of least squares."""
    mean, lower, upper, sds, effective, z = (
        np.array([trial[name] for trial in trials])
        for name in ("mean", "lower", "upper", "sds", "effective", "z")
    )
    known = truth(case)
    ols, half = (np.array([trial["ols"][name] for trial in trials]) for name in ("mean", "half"))
    # Least squares as one more candidate, the last
    covered = np.concatenate(
        [(lower <= known) & (known <= upper), (np.abs(ols - known) <= half)[:, None]], axis=1
    )
    by_quantity = [corrected(covered[:, :, q], z[:, q]) for q in range(len(QUANTITIES))]
    coverage, error = (np.stack(parts, axis=-1) for parts in zip(*by_quantity, strict=True))
    figures = {
        "coverage": coverage[:-1],
        "error": error[:-1],
        "estimate": mean.mean(axis=0),
        "width": (upper - lower).mean(axis=0),
        "sds": sds.mean(axis=0),
        "ols_coverage": coverage[-1],
        "ols_estimate": ols.mean(axis=0),
        "ols_width": 2 * half.mean(axis=0),
    }
    return {
        "case": asdict(case),
        "candidates": [asdict(one) for one in candidates(case)],
        "trials": len(trials),
        "least_effective": float(np.quantile(effective, 0.01)),
        **{name: np.round(values, 4).tolist() for name, values in figures.items()},
    }


def kept(work: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """Trials of earlier runs, by case and number; a last line that a stop cut off is left out."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    if work.is_file():
        for line in work.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                one = json.loads(line)
                found.setdefault(one["case"], {})[one["number"]] = one
    return found


def main() -> int:
    command = parser(__doc__)
    command.add_argument("--trials", type=int, default=TRIALS, help=f"of each case ({TRIALS})")
    command.add_argument(
        "--near-the-limit",
        type=int,
        default=TRIALS_NEAR_THE_LIMIT,
        help=f"of those that few trials do not tell ({TRIALS_NEAR_THE_LIMIT})",
    )
    command.add_argument("--work", type=Path, default=Path("prior_coverage.jsonl"))
    arguments = command.parse_args()
    out, begun = console(), time.perf_counter()
    done = kept(arguments.work)
    asked = dict.fromkeys(CASES, arguments.trials)
    asked |= dict.fromkeys(NEAR_THE_LIMIT, max(arguments.trials, arguments.near_the_limit))
    # All cases grow together: what is there after a stop is a study of fewer trials
    with arguments.work.open("a", encoding="utf-8") as file, threadpool_limits(limits=1):
        for number, case in product(range(max(asked.values())), CASES):
            if number >= asked[case] or number in done.get(case.label, {}):
                continue
            one = {"case": case.label, "number": number} | analysed(case, number)
            done.setdefault(case.label, {})[number] = one
            file.write(json.dumps(one) + "\n")
            file.flush()
    found = [summary(case, list(done[case.label].values())) for case in CASES]
    print_tables(out, found)
    figures = {"cases": found}
    out.print(f"{time.perf_counter() - begun:,.0f} s in this run", highlight=False)
    return finish(out, promises(found), figures, installed_versions(), arguments.out)


def named(case: Case) -> str:
    """A case as a table has it."""
    kind = "nested" if case.nested else "crossed"
    return (
        f"n {case.patients}, {case.therapists} {kind}, SDs {case.therapist_sd:g} and "
        f"{case.slope_sd:g}, interaction {case.interaction:g}"
    )


def print_tables(out: Console, found: list[dict[str, Any]]) -> None:
    """Coverage and width of each quantity by case and prior, beside those of least squares."""
    for q, quantity in enumerate(QUANTITIES):
        heads = [f"{SHORT[shape]} {own:g}/{slope:g}" for shape, own, slope in SHAPES]
        for what in ("coverage", "width"):
            rows = []
            for one in found:
                own = [f"{row[q]:.3f}" for row in one[what][: len(SHAPES)]]
                trials = f"{one['trials']}"
                if what == "coverage":
                    trials += f" (+- {max(row[q] for row in one['error']):.3f})"
                case = named(Case(**one["case"]))
                rows.append((case, *own, f"{one[f'ols_{what}'][q]:.3f}", trials))
            title = f"{quantity}: {what} of 95% intervals, by prior of the SDs between therapists"
            out.print(table(title, ["case", *heads, "least squares", "trials"], rows))
    rows = []
    for one in found:
        for k in range(0, len(one["candidates"]), len(SHAPES)):
            rows.append(
                (
                    named(Case(**one["case"])),
                    f"{one['candidates'][k]['interaction']:g}",
                    f"{one['estimate'][k + DEFAULT][1]:.3f}",
                    f"{one['coverage'][k + DEFAULT][1]:.3f}",
                    f"{one['width'][k + DEFAULT][1]:.3f}",
                )
            )
    columns = ["case", "prior's scale", "mean estimate", "coverage", "width"]
    out.print(table("interaction, by its own prior", columns, rows))


def promises(found: list[dict[str, Any]]) -> list[Target]:
    """The default priors' coverage of every quantity where slopes vary as they realistically may.

    Two standard errors are allowed for in each case, none in the mean over cases.
    """
    made = []
    for q, quantity in enumerate(QUANTITIES):
        realistic = [
            one
            for one in found
            if one["case"]["slope_sd"] <= REALISTIC_SD
            and one["case"]["interaction"] <= REALISTIC_INTERACTION
        ]
        coverage = np.array([one["coverage"][DEFAULT][q] for one in realistic])
        error = np.array([one["error"][DEFAULT][q] for one in realistic])
        what = f"{quantity}: mean coverage over {len(realistic)} realistic cases"
        made.append(Target(what, float(coverage.mean()), LEAST_COVERAGE, "", at_least=True))
        what = f"{quantity}: least coverage of them, and two standard errors"
        worst = float((coverage + 2 * error).min())
        made.append(Target(what, worst, LEAST_COVERAGE, "", at_least=True))
    return made


if __name__ == "__main__":
    raise SystemExit(main())
