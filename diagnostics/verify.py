"""Does this installation compute what it should? Cases, each beside a number from outside.

Closed forms and dense formulas are evaluated here with NumPy and SciPy alone; printed numbers come
from publications and other programs. Only cases without patients' data are embedded: the others
read the trials of their publications from a folder, and are named where it lacks them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from alliance.data_prep.moments import therapist_moments
from alliance.data_prep.study.description import Study, find_study, narrowed, read_study
from alliance.data_prep.trial.trial import load_trial, trial_from_frame
from alliance.diagnostics.sheet import Sheet
from alliance.inference.digits import figures
from alliance.inference.draws.datatree import draws_of
from alliance.inference.many_fits.calibration import CalibrationQuestion, calibrate
from alliance.inference.many_fits.calibration_runs import calibration_questions
from alliance.inference.paper.meta_analysis import meta_analysis
from alliance.inference.published.refits import refit
from alliance.inference.published.restricted_likelihood import RestrictedLikelihood
from alliance.inference.sampling.engines import fit_outcome
from alliance.inference.sampling.profiles import Engine, SamplerProfile
from alliance.models.design.design import Design, build_design
from alliance.models.families.families import FAMILIES
from alliance.models.families.family import ARRAYS, Scale
from alliance.models.gaussian.gaussian_draws import GaussianDraws, therapist_log_likelihood
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec, specify

Array = NDArray[np.float64]

TRIALS = 60  # of the short calibration: a fault of a third of a posterior SD is found (docs)
LEAST_P = 0.001  # after Holm: of a thousand sound installations one fails
COLUMNS = ("case", "source", "expected", "found", "tolerance", "verdict")


@dataclass(frozen=True, slots=True)
class Case:
    """A number of this installation beside one from outside.

    Attributes
    ----------
    name : str
    source : str
        Who says so: a formula, a program, a publication.
    expected, found : float
    tolerance : float
        Largest difference that passes.
    at_least : bool
        Whether anything from the expected number up passes.
    """

    name: str
    source: str
    expected: float
    found: float
    tolerance: float
    at_least: bool = False

    @property
    def passed(self) -> bool:
        """Whether the number is near enough; one that is missing is not."""
        if self.at_least:
            return bool(self.found >= self.expected - self.tolerance)
        return bool(abs(self.found - self.expected) <= self.tolerance)


@dataclass(frozen=True, eq=False, slots=True)
class Verification:
    """Every case, and what could not be checked.

    Attributes
    ----------
    cases : tuple of Case
    missing : tuple of str
        Files of trials that were not there, each with the cases that need it.
    """

    cases: tuple[Case, ...]
    missing: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether no case failed."""
        return all(case.passed for case in self.cases)

    @property
    def arms(self) -> dict[str, str]:
        """None: there is no trial."""
        return {}

    @property
    def simulated(self) -> bool:
        """Not said: the numbers are about the installation."""
        return False

    @property
    def table(self) -> pd.DataFrame:
        """One row for each case, columns as in `COLUMNS`."""
        rows = [
            (
                *(case.name, case.source, case.expected, case.found, case.tolerance),
                "PASS" if case.passed else "FAIL",
            )
            for case in self.cases
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    @property
    def sheet(self) -> Sheet:
        """The table as people read it."""
        rows = [
            {
                "Case": case.name,
                "Verdict": "PASS" if case.passed else "FAIL",
                "Expected": ("at least " if case.at_least else "") + figures(case.expected, 8),
                "Here": figures(case.found, 8),
                "Tolerance": figures(case.tolerance, 2),
                "Source": case.source,
            }
            for case in self.cases
        ]
        return Sheet("verification", "Reference cases on this installation", rows, fewest=4)


def verify(folder: Path | None = None, told: Callable[[str], None] | None = None) -> Verification:
    """Run every reference case.

    Parameters
    ----------
    folder : Path, optional
        Where the files of published trials are.
    told : callable, optional
        Called with what is about to be checked.

    Returns
    -------
    Verification
    """
    cases: list[Case] = []
    for about, made in EMBEDDED.items():
        if told is not None:
            told(about)
        cases += made()
    missing = []
    for file, (about, read) in PUBLISHED.items():
        if folder is None or not (folder / file).is_file():
            missing.append(f"{file}: {about}")
            continue
        if told is not None:
            told(about)
        cases += read(folder / file)
    return Verification(tuple(cases), tuple(missing))


# A trial for the cases ---------------------------------------------------------------------------


def _patients(seed: int, patients: int, therapists: int) -> xr.Dataset:
    """Two arms, an alliance and a baseline; the last therapist has one patient."""
    random = np.random.default_rng(seed)
    therapist = np.append(np.arange(patients - 1) % (therapists - 1), therapists - 1)
    arm, rating, baseline = np.arange(patients) % 2, *random.normal(size=(2, patients))
    own = random.normal(0, 0.5, therapists)[therapist]
    outcome = 0.3 * rating + 0.5 * baseline + 0.4 * arm + own + random.normal(size=patients)
    return xr.Dataset(
        {
            "outcome": ("patient", 50 + 10 * outcome),
            "baseline": ("patient", 50 + 10 * baseline),
            "moderator": ("patient", 40 + 8 * rating),
            "arm_index": ("patient", arm),
            "therapist_index": ("patient", therapist),
            "covariates": (("patient", "covariate"), np.empty((patients, 0))),
        },
        coords={
            "arm": ["A", "B"],
            "therapist": [f"T{k:02d}" for k in range(therapists)],
            "covariate": np.array([], dtype=str),
        },
    )


def _design(therapist: Any = "intercept+slope", **size: int) -> Design:
    return build_design(_patients(**size), ModelSpec("score", therapist))


# Closed forms ------------------------------------------------------------------------------------


def exact_likelihood() -> Iterator[Case]:
    """Therapists integrated out, against the normal distribution of all patients at once."""
    design = _design(seed=1, patients=61, therapists=7)
    random = np.random.default_rng(2)
    for number in range(3):
        beta = random.normal(0, 0.3, len(design.coefficients))
        residual, first, second = np.abs(random.normal(0.6, 0.2, 3)) + 0.1
        r = random.uniform(-0.9, 0.9)
        draws = GaussianDraws(
            beta=beta[None],
            residual_sd=np.array([residual]),
            therapist_sd=np.array([first]),
            therapist_slope_sd=np.array([second]),
            therapist_correlation=np.array([r]),
        )
        Z = design.X[:, design.effect_columns]
        G = np.array([[first**2, r * first * second], [r * first * second, second**2]])
        same = design.therapist_index[:, None] == design.therapist_index
        V = (Z @ G @ Z.T) * same + residual**2 * np.eye(len(design.y))
        dense = stats.multivariate_normal.logpdf(design.y, design.X @ beta, V)
        found = float(therapist_log_likelihood(design, draws).sum())
        name = f"log likelihood of therapists integrated out, point {number + 1}"
        yield Case(name, "dense multivariate normal (SciPy)", float(dense), found, 1e-8)


FAMILY_ETA = np.array([[-3.0, -0.4, 0.0, 1.1, 2.7]])


def families() -> Iterator[Case]:
    """Log likelihoods of every family, against SciPy's distributions."""
    eta, p = FAMILY_ETA[0], stats.logistic.cdf(FAMILY_ETA[0])
    cuts = np.array([-1.5, 0.2, 1.4])
    ends = np.concatenate([[-np.inf], cuts, [np.inf]])
    ordinal, counted = np.array([0, 3, 1, 2, 3]), np.array([0.0, 2, 5, 1, 9])
    bounded, events = np.array([0.0, 4, 10, 7, 9]), np.array([0.0, 1, 0, 1, 1])
    scores, alpha = np.array([-2.0, 0.1, 0.7, 4.0, 1.0]), 0.8
    size = alpha**-2
    beyond = stats.logistic.cdf(ends[ordinal + 1] - eta) - stats.logistic.cdf(ends[ordinal] - eta)
    expected: dict[str, tuple[Array, dict[str, Array], int, Array]] = {
        "student_t": (
            scores,
            {"residual_sd": np.array([[0.9]]), "degrees_of_freedom": np.array([[5.0]])},
            0,
            stats.t.logpdf(scores, 5.0, eta, 0.9),
        ),
        "ordinal": (ordinal, {"cutpoint": cuts[None]}, 3, np.log(beyond)),
        "beta_binomial": (
            bounded,
            {"precision": np.array([[6.0]])},
            10,
            stats.betabinom.logpmf(bounded, 10, 6 * p, 6 * (1 - p)),
        ),
        "binary": (events, {}, 1, stats.bernoulli.logpmf(events.astype(int), p)),
        "count": (
            counted,
            {"overdispersion": np.array([[alpha]])},
            0,
            stats.nbinom.logpmf(counted, size, 1 / (1 + np.exp(eta) / size)),
        ),
    }
    for name, (y, parameters, top, terms) in expected.items():
        scale = Scale(0.0, 1.0, top, 0.0, 1.0)
        found = FAMILIES[name].log_likelihood(ARRAYS, y, FAMILY_ETA, parameters, scale)
        total = float(np.sum(terms))
        yield Case(
            f"log likelihood, {name}", "SciPy's distribution", total, float(found.sum()), 1e-8
        )


def balanced_reml() -> Iterator[Case]:
    """One-way analysis of variance with groups of one size: REML has a closed form."""
    random = np.random.default_rng(3)
    groups, each = 12, 6
    y = random.normal(0, 1, (groups, each)) + random.normal(0, 1, groups)[:, None]
    within = float(y.var(axis=1, ddof=1).mean())
    between = (each * float(y.mean(axis=1).var(ddof=1)) - within) / each
    place = np.repeat(np.arange(groups), each)
    moments = therapist_moments(np.ones((groups * each, 1)), y.ravel(), place, groups)
    found = RestrictedLikelihood(moments, [0]).maximise()
    source = "mean squares (Searle, Casella & McCulloch 1992)"
    yield Case("REML, variance within", source, within, float(found.residual_variance), 1e-8)
    own = float(found.effect_covariance[0, 0])
    yield Case("REML, variance between", source, between, own, 1e-6)


def flat_priors() -> Iterator[Case]:
    """Without therapists and with flat priors posterior means are least squares."""
    design = _design("none", seed=4, patients=200, therapists=8)
    wide = 50.0
    flat = Priors(
        intercept=wide, baseline_slope=wide, arm=wide, moderator_slope=wide, interaction=wide
    )
    tree, _ = _fitted(design, flat, "instant")
    beta = draws_of(tree)["beta"]
    X = design.X[:, design.present]
    least, *_ = np.linalg.lstsq(X, design.y, rcond=None)
    residual = design.y - X @ least
    s = float(np.sqrt(residual @ residual / (len(X) - X.shape[1])))
    errors = s * np.sqrt(np.diag(np.linalg.inv(X.T @ X)))
    k = [str(name) for name in beta["coefficient"].values].index("moderator")
    own = beta.isel(coefficient=k)
    place = [design.coefficients[j] for j in design.present].index("moderator")
    # 4,000 draws: a mean errs by 1.6% of an SD, an SD by 1.1%; three times that
    yield Case(
        "posterior mean of the slope, flat priors",
        "least squares",
        float(least[place]),
        float(own.mean()),
        0.05 * float(errors[place]),
    )
    yield Case(
        "posterior SD of the slope, flat priors",
        "standard error",
        float(errors[place]),
        float(own.std()),
        0.035 * float(errors[place]),
    )


def eight_schools() -> Iterator[Case]:
    """A meta-analysis whose posterior the R package bayesmeta prints."""
    effects = np.array([28.39, 7.94, -2.75, 6.82, -0.64, 0.63, 18.01, 12.16])
    errors = np.array([14.9, 10.2, 16.3, 11.0, 9.4, 11.4, 10.4, 17.6])
    made = meta_analysis(
        effects,
        errors,
        lambda tau: np.asarray(stats.halfcauchy.logpdf(tau, scale=25)),
        scale=10.0,
        prior=(0.0, 50.0),
    )
    source = "bayesmeta, eight schools"
    yield Case("SD between trials, mean", source, 5.884511, made.heterogeneity.mean, 1e-4)
    yield Case("mean effect", source, 7.985729, made.mean.mean, 1e-3)


# Draws -------------------------------------------------------------------------------------------


def _fitted(design: Design, priors: Priors, engine: Engine) -> tuple[xr.DataTree, Any]:
    profile = SamplerProfile("verify", chains=4, draws=1000, tune=500)
    return fit_outcome(design, priors, profile, 2013, engine=engine, cores=1)


def identical_draws() -> Iterator[Case]:
    """The same seed twice: how many draws differ."""
    design = _design(seed=5, patients=120, therapists=8)
    for engine in ("instant", "nuts"):
        first, second = (
            draws_of(_fitted(design, Priors(), engine)[0])["beta"].values for _ in range(2)
        )
        differ = float(np.sum(first != second))
        yield Case(f"draws that differ, engine {engine}", "the same seed twice", 0.0, differ, 0.0)


def short_calibration() -> Iterator[Case]:
    """Ranks of true values among draws are uniform: the smallest p after Holm's correction."""
    study = narrowed(read_study(find_study("ferreira2013")), outcomes=["pain"])
    questions = calibration_questions(
        study, None, patients=182, therapists=12, seed=2013, engine="instant"
    )
    (question,) = questions.values()
    assert isinstance(question, CalibrationQuestion)
    found = calibrate(question, TRIALS)
    least = float(found.adjusted.min())
    name = f"simulation-based calibration, {TRIALS} trials, smallest p"
    yield Case(name, "uniform ranks (arXiv:1804.06788)", LEAST_P, least, 0.0, at_least=True)


# Published trials --------------------------------------------------------------------------------


def headache(file: Path) -> Iterator[Case]:
    """The acupuncture trial: the paper's analysis of covariance."""
    study = read_study(find_study("headache"))
    analysed = load_trial(study, file).analysed("headache_12m")
    table = refit(build_design(analysed, specify(study)["headache_12m"]))
    own = table[(table["model"] == "ols_main") & (table["quantity"] == "arm_contrast")]
    row = own.iloc[0]
    source = "Vickers et al. 2004, doi:10.1136/bmj.38029.421863.EB"
    for name, printed in (("estimate", -4.6), ("lower", -7.0), ("upper", -2.2)):
        # Printed with one digit; the paper's own covariates differ in how chronicity is coded
        yield Case(f"headache, difference, {name}", source, printed, float(row[name]), 0.1)


TVSFP = {
    "title": "Smoking prevention",
    "columns": {"patient": "pupil", "arm": "arm"},
    "arms": {"00": "neither", "10": "curriculum", "01": "television", "11": "both"},
    "moderator": {"name": "knowledge", "label": "Before", "column": "thkspre", "range": (0, 7)},
    "outcomes": {"after": {"label": "After", "followup": "thksord", "range": (1, 4),
                           "better": "higher", "family": "ordinal"}},
    "model": {"interaction": False, "likelihood": "native"},
}  # fmt: skip


def smoking_prevention(file: Path) -> Iterator[Case]:
    """The ordinal family's likelihood at mixor's estimates, schools integrated out by quadrature.

    mixor prints the maximum: no estimate may be moved by a tenth of its standard error and gain.
    """
    frame = pd.read_csv(file)
    arm = frame["cc"].astype(str) + frame["tv"].astype(str)
    study = Study.model_validate(TVSFP)
    trial_from_frame(study, frame.assign(arm=arm, pupil=np.arange(len(frame)).astype(str)))
    X = np.column_stack([frame["thkspre"], frame["cc"], frame["tv"], frame["cc"] * frame["tv"]])
    printed = np.array([0.403, 0.924, 0.275, -0.466])
    errors = np.array([0.043, 0.371, 0.315, 0.406])
    cutpoint = -0.088 + np.array([0.0, 1.240, 2.418])
    belongs = np.eye(frame["school"].nunique())[pd.factorize(frame["school"])[0]]
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    scores = frame["thksord"].to_numpy() - 1
    scale = FAMILIES["ordinal"].scale(scores + 1.0, (1, 4))

    def log_likelihood(beta: Array) -> float:
        eta = X @ beta + np.sqrt(0.0735) * nodes[:, None]
        cuts = {"cutpoint": np.tile(cutpoint, (len(nodes), 1))}
        own = FAMILIES["ordinal"].log_likelihood(ARRAYS, scores, eta, cuts, scale) @ belongs
        top = own.max(axis=0)
        share = weights / weights.sum()
        return float((top + np.log(share @ np.exp(own - top))).sum())

    best = log_likelihood(printed)
    for name, k in (("knowledge before", 0), ("curriculum", 1), ("television", 2)):
        step = np.where(np.arange(4) == k, 0.1 * errors[k], 0.0)
        gain = max(log_likelihood(printed + step), log_likelihood(printed - step)) - best
        yield Case(f"ordinal, gain away from mixor's {name}", "mixor (R)", 0.0, max(gain, 0.0), 0.0)


EMBEDDED: dict[str, Callable[[], Iterator[Case]]] = {
    "the exact Gaussian model": exact_likelihood,
    "the families": families,
    "restricted maximum likelihood": balanced_reml,
    "flat priors": flat_priors,
    "a meta-analysis": eight_schools,
    "draws of one seed": identical_draws,
    "calibration": short_calibration,
}
PUBLISHED: dict[str, tuple[str, Callable[[Path], Iterator[Case]]]] = {
    "acupuncture_vickers2004.csv": ("the difference that its paper prints", headache),
    "tvsfp_smoking_prevention.csv": ("mixor's ordinal example", smoking_prevention),
}
