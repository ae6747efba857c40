"""How often a trial of a given size would find an interaction of a given size convincing.

Trials are simulated from stated assumptions, analysed as the study file says, and judged by the
analyst's own criterion. What is not drawn from a posterior but assumed is so in each trial; the
chance is therefore one under these assumptions (a conditional assurance; O'Hagan, Stevens &
Campbell 2005, doi:10.1002/pst.175). Errors of sign and of magnitude are those of the trials that
convince (Gelman & Carlin 2014, doi:10.1177/1745691614551642).

Trials of a planned size: what is assumed of them, and one simulated under the assumptions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError, nearest
from alliance.data_prep.levels import contrast_names, find_contrast
from alliance.data_prep.simulator.inputs import imagined_patients
from alliance.data_prep.simulator.leaving import autoregressive
from alliance.data_prep.study.description import Study
from alliance.data_prep.study.rules import OWN_FAMILIES
from alliance.data_prep.trial.flow import analysed_patients
from alliance.inference.draws.datatree import draws_of
from alliance.inference.draws.summaries import tails
from alliance.inference.estimands.estimands import estimand_draws
from alliance.inference.many_fits.calibration_runs import PROFILE
from alliance.inference.many_fits.planned_visits import planned_visits
from alliance.inference.many_fits.task_runner import TaskStore, Workers, run_tasks
from alliance.inference.posterior import Posterior
from alliance.inference.runs.fit import LAST_VISIT, installed_versions
from alliance.inference.sampling.engines import default_engine, fit_outcome, fit_over_time
from alliance.inference.sampling.profiles import DEFAULT_SEED, Engine, seed_sequence
from alliance.models.design.design import Design, build_design
from alliance.models.design.encoding import arm_pairs
from alliance.models.spec import ModelSpec, specify
from alliance.models.visits.design import VisitsDesign


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What is true in every simulated trial, in residual SDs of the outcome.

    Attributes
    ----------
    alliance_slope : float
        For one SD of the alliance, averaged over arms.
    baseline_slope : float
        For one SD of the baseline, where the outcome has one.
    therapist_sd, therapist_slope_sd : float
        SDs between therapists of the mean outcome and of the alliance slope, uncorrelated.
    clinic_sd : float
        SD between clinics of the mean outcome, where the study has clinics.
    visit_correlation : float
        Of outcomes over time: of residuals at neighbouring visits, its square over two steps and
        so on.
    leaving : tuple of float
        Of outcomes over time: the share of patients who have left by the last visit; or the shares
        who have left by each visit after the first.
    """

    alliance_slope: float
    baseline_slope: float
    therapist_sd: float
    therapist_slope_sd: float
    clinic_sd: float = 0.0
    visit_correlation: float = 0.6
    leaving: tuple[float, ...] = (0.25,)

    def __post_init__(self) -> None:
        if not -1 < self.visit_correlation < 1:
            raise InputError(
                f"The correlation {self.visit_correlation:g} of visits is none.",
                "Give a number between -1 and 1 as `visit_correlation`.",
            )
        shares = (0.0, *self.leaving)
        if not all(0 <= one <= two < 1 for one, two in pairwise(shares)):
            raise InputError(
                f"The shares {', '.join(f'{own:g}' for own in self.leaving)} who have left are "
                "none that rise from 0 to below 1.",
                "Give the share who have left by the last visit as `leaving`, or one for each "
                "visit after the first.",
            )
        for name in ("therapist_sd", "therapist_slope_sd", "clinic_sd"):
            if not getattr(self, name) >= 0:
                raise InputError(
                    f"The {name} {getattr(self, name):g} is below zero.", "Give an SD."
                )


@dataclass(frozen=True, slots=True)
class Criterion:
    """What counts as convincing: a probability that the interaction is beyond a threshold.

    Attributes
    ----------
    probability : float
    threshold : float
        In residual SDs for one SD of the alliance; counted in either direction.
    """

    probability: float
    threshold: float

    def __post_init__(self) -> None:
        if not 0.5 <= self.probability < 1:
            raise InputError(
                f"The probability {self.probability:g} convinces of nothing.",
                "Give one from 0.5 up to 1, such as 0.975.",
            )
        if not self.threshold >= 0:
            raise InputError(
                f"The threshold {self.threshold:g} is below zero.",
                "Give a size; both directions are counted.",
            )


@dataclass(frozen=True, eq=False, slots=True)
class AssuranceQuestion:
    """A study's analysis, the assumptions, and the criterion.

    Attributes
    ----------
    study : Study
        Narrowed to one outcome.
    spec : ModelSpec
        Of the outcome; of an outcome over time at the visit that is asked about.
    pair : tuple of int
        Positions of the two arms whose slopes differ, later minus earlier.
    assumptions : Assumptions
    criterion : Criterion
    nested : bool
        Whether each therapist treats in one arm only.
    seed : int
    engine : {"nuts", "instant"}, optional
    visits : mapping of str to ModelSpec
        Of an outcome over time: all its visits.
    """

    study: Study
    spec: ModelSpec
    pair: tuple[int, int]
    assumptions: Assumptions
    criterion: Criterion
    nested: bool = False
    seed: int = DEFAULT_SEED
    engine: Engine | None = None
    visits: Mapping[str, ModelSpec] = field(default_factory=dict)

    @property
    def contrast(self) -> str:
        """Level of the interaction."""
        return contrast_names(tuple(self.study.arms))[self.pair]


def assurance_question(
    study: Study,
    contrast: str | None,
    assumptions: Assumptions,
    criterion: Criterion,
    *,
    nested: bool = False,
    seed: int = DEFAULT_SEED,
    engine: Engine | None = None,
    visit: str = LAST_VISIT,
) -> AssuranceQuestion:
    """What is asked of a study with one outcome.

    Parameters
    ----------
    study : Study
    contrast : str, optional
        Level of the interaction, such as ``MCE-GE``; needed where there are more than two arms.
    assumptions : Assumptions
    criterion : Criterion
    nested : bool
    seed : int
    engine : {"nuts", "instant"}, optional
    visit : str
        Of an outcome over time: at which visit the interaction is to convince.

    Returns
    -------
    AssuranceQuestion

    Raises
    ------
    InputError
        If there are several outcomes, no such visit, no interaction, another family than the
        Gaussian, an alliance with a model of its own, or no such contrast.
    """
    _ = study.measure  # refused without one
    specs = specify(study)
    whole = dict.fromkeys(own.visit_of or name for name, own in study.outcomes.items())
    if len(whole) != 1:
        raise InputError(
            f"The study has {len(whole)} outcomes: {', '.join(whole)}.",
            "Choose one with `outcome`.",
        )
    visits = {name: spec for name, spec in specs.items() if spec.visits is not None}
    spec = specs[_visit(study, visit)]
    if visits and len(assumptions.leaving) not in (1, len(visits) - 1):
        raise InputError(
            f"{len(assumptions.leaving)} shares who have left do not suit {len(visits)} visits.",
            f"Give {len(visits) - 1} as `leaving`, or the one by the last visit.",
        )
    rated = study.rated_arms
    if len(rated) == 1:
        raise InputError(
            f"{rated[0]!r} is the only arm with a slope of the {study.measure.name}, so that no "
            "slopes differ.",
            "Trials are planned for a difference of slopes: name two arms in moderator_arms.",
        )
    if not spec.interaction:
        raise InputError("The model has no interaction.", "Leave `interaction=False` out.")
    if spec.family in OWN_FAMILIES:
        raise InputError(
            f"Trials are planned for Gaussian outcomes, and {spec.outcome} has the family "
            f"{spec.family}.",
            "Plan for a Gaussian outcome of the study; `alliance calibrate` simulates trials of "
            "this one.",
        )
    if not spec.exact or spec.moderator.structure != "total":
        raise InputError(
            f"Trials are planned for Gaussian outcomes and the alliance as rated; {spec.outcome} "
            f"has the family {spec.family!r} and an alliance "
            f"{'with a model of its own' if not spec.exact else spec.moderator.structure!r}.",
            'Leave these settings out, or set likelihood = "published".',
        )
    codes = tuple(study.arms)
    pairs = [pair for pair in arm_pairs(len(codes)) if {codes[k] for k in pair} <= set(rated)]
    if contrast is None and len(pairs) > 1:
        names = contrast_names(codes)
        raise InputError(
            f"The interaction of which arms? There are {', '.join(names[pair] for pair in pairs)}.",
            "Choose one with `contrast`.",
        )
    pair = pairs[0] if contrast is None else find_contrast(codes, contrast, pairs, study.arms)
    return AssuranceQuestion(
        study, spec, pair, assumptions, criterion, nested, seed, engine, visits
    )


def _visit(study: Study, visit: str) -> str:
    """Name of the outcome, at the visit if it has several."""
    if visit == LAST_VISIT:
        return list(study.outcomes)[-1]
    known = {str(own.visit): name for name, own in study.outcomes.items() if own.visit is not None}
    if visit not in known:
        raise InputError(
            f"No outcome has a visit {visit!r}.",
            nearest(visit, known) if known else "The study has no outcomes over time.",
        )
    return known[visit]


def planned_trial(
    question: AssuranceQuestion, patients: int, therapists: int, interaction: float, number: int
) -> Design:
    """Simulate one trial under the assumptions.

    Parameters
    ----------
    question : AssuranceQuestion
    patients, therapists : int
    interaction : float
        Difference of the two arms' slopes, in residual SDs for one SD of the alliance; other arms
        have the average slope.
    number : int
        Of the trial. Trials that differ in the interaction alone share all random numbers.

    Returns
    -------
    Design
        Whose outcome is in residual SDs.
    """
    _, design, y, generator = _expected(question, patients, therapists, interaction, number)
    y = y + generator.standard_normal(patients)
    centre, sd = float(y.mean()), float(y.std(ddof=1))
    scaling = replace(design.scaling, outcome=(centre, sd))
    encoding = replace(design.encoding, scaling=scaling)
    return replace(design, y=(y - centre) / sd, encoding=encoding)


def planned_trial_over_time(
    question: AssuranceQuestion, patients: int, therapists: int, interaction: float, number: int
) -> VisitsDesign:
    """Simulate one trial of an outcome over time under the assumptions, as `planned_trial` does.

    Returns
    -------
    VisitsDesign
        Whose outcome is in residual SDs.
    """
    data, _, y, generator = _expected(question, patients, therapists, interaction, number)
    assumed, outcome = question.assumptions, question.study.outcomes[question.spec.outcome]
    r, visits = assumed.visit_correlation, len(question.visits)
    residual = autoregressive(generator, patients, visits, r)
    leaving = assumed.leaving if len(assumed.leaving) > 1 else assumed.leaving[0]
    worse = 1 if outcome.better == "lower" else -1
    return planned_visits(data, question.visits, y, residual, leaving, worse, generator)


def _expected(
    question: AssuranceQuestion, patients: int, therapists: int, interaction: float, number: int
) -> tuple[xr.Dataset, Design, NDArray[np.float64], np.random.Generator]:
    """Imagined patients, their design, and what is expected of them and their therapists."""
    label = f"{patients} patients, {therapists} therapists"
    generator = np.random.default_rng(seed_sequence(question.seed, "prior", label, number))
    data = imagined_patients(
        question.study, patients, therapists, generator, nested=question.nested
    )
    name = question.spec.outcome
    design = build_design(
        analysed_patients(data, name), question.spec, question.study.outcomes[name].range
    )
    assumed, arms = question.assumptions, len(design.arms)
    slopes = np.zeros(arms)
    slopes[list(question.pair)] = interaction / 2, -interaction / 2
    beta = np.zeros(len(design.coefficients))
    beta[design.encoding.places("baseline")] = assumed.baseline_slope
    beta[design.encoding.places("moderator")] = assumed.alliance_slope
    beta[design.encoding.places("interaction")] = design.encoding.slope_weights[:, 1:].T @ slopes
    effects = generator.standard_normal((2, therapists))[:, : len(design.therapists)]
    own = np.append(effects, np.zeros((2, 1)), axis=1)[:, design.therapist_index]  # last: nobody
    alliance = design.X[:, design.coefficients.index("moderator")]
    y = design.X @ beta
    y = y + assumed.therapist_sd * own[0] + assumed.therapist_slope_sd * own[1] * alliance
    if design.clinic_effects:
        of_clinics = generator.standard_normal(len(design.clinics))
        y = y + assumed.clinic_sd * of_clinics[design.clinic_of]
    return data, design, y, generator


def require_grid(question: AssuranceQuestion, grid: Sequence[tuple[int, int, float]]) -> None:
    """Refuse, before anything is fitted, sizes of which no trial can be imagined.

    Parameters
    ----------
    question : AssuranceQuestion
    grid : sequence of (patients, therapists, interaction)

    Raises
    ------
    InputError
    """
    for patients, therapists, _ in grid:
        unused = np.random.default_rng(question.seed)
        imagined_patients(question.study, patients, therapists, unused, nested=question.nested)


OF_VISITS = "visit_correlation", "leaving"  # assumptions that outcomes over time have
INTERVAL = 0.95  # whose expected width is told
COLUMNS = (
    "patients",
    "therapists",
    "interaction",
    "trials",
    "convincing",
    "convincing_error",
    "wrong_sign",
    "exaggeration",
    "mean_estimate",
    "mean_width",
)


def judged_trial(
    question: AssuranceQuestion, patients: int, therapists: int, interaction: float, number: int
) -> dict[str, Any]:
    """Simulate, fit and judge one trial; see `planned_trial`.

    Returns
    -------
    dict
        Of the interaction, in residual SDs for one SD of the alliance: ``mean``, ``sd``,
        ``lower``, ``upper``, and the chances ``above`` and ``below`` of being beyond the threshold.
    """
    size = question, patients, therapists, interaction, number
    label = f"{patients} patients, {therapists} therapists, {interaction!r}"
    stream = seed_sequence(question.seed, "sampling", label, number)
    own, priors = int(stream.generate_state(1)[0]), question.spec.priors
    if question.visits:
        whole, engine = planned_trial_over_time(*size), question.engine or "instant"
        trees, _ = fit_over_time(whole, priors, PROFILE, own, engine=engine, cores=1)
        design, tree = whole.designs[question.spec.outcome], trees[question.spec.outcome]
    else:
        design = planned_trial(*size)
        engine = question.engine or default_engine(design)
        tree, _ = fit_outcome(design, priors, PROFILE, own, engine=engine, cores=1)
    draws = estimand_draws(Posterior(design, draws_of(tree)), per_sd=True)
    wanted = (draws["quantity"] == "interaction") & (draws["level"] == question.contrast)
    values = draws.isel(estimand=int(np.flatnonzero(wanted)[0])).values.ravel()
    lower, upper = np.quantile(values, tails(INTERVAL))
    threshold = question.criterion.threshold
    return {
        "mean": float(values.mean()),
        "sd": float(values.std(ddof=1)),
        "lower": float(lower),
        "upper": float(upper),
        "above": float((values > threshold).mean()),
        "below": float((values < -threshold).mean()),
    }


def assurance(
    workers: Workers,
    store: TaskStore,
    question: AssuranceQuestion,
    grid: Sequence[tuple[int, int, float]],
    trials: int,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Judge so many trials of every size, but for those that the store has.

    Parameters
    ----------
    workers : LocalProcesses or distributed.Client
    store : TaskStore
        Open, and of `assurance_facts`; it may have trials of other sizes.
    question : AssuranceQuestion
    grid : sequence of (patients, therapists, interaction)
    trials : int
        Of each.
    progress : callable, optional
        Called with the trials done and the trials to do.

    Returns
    -------
    pandas.DataFrame
        A row for each size, columns `COLUMNS`: ``convincing`` is the share of trials that meet the
        criterion and ``convincing_error`` its standard error; ``wrong_sign`` and ``exaggeration``
        (mean size of the estimate over the true one) are of those that convince, and missing where
        none does or nothing is there to find; ``mean_width`` is that of 95% intervals.
    dict of str to str
        Trials whose fit failed, and why.
    """
    tasks = {f"{n}/{j}/{size!r}/{k}": (n, j, size, k) for k in range(trials) for n, j, size in grid}
    found = run_tasks(workers, store, judged_trial, question, tasks, progress=progress)
    failures = {task: own.failure for task, own in found.items() if own.failure is not None}
    rows = []
    for n, j, size in grid:
        own = [found[f"{n}/{j}/{size!r}/{k}"].result for k in range(trials)]
        rows.append(_row(n, j, size, [result for result in own if result], question.criterion))
    return pd.DataFrame(rows, columns=list(COLUMNS)), failures


def _row(
    patients: int,
    therapists: int,
    size: float,
    results: Sequence[Mapping[str, float]],
    criterion: Criterion,
) -> dict[str, float]:
    row: dict[str, float] = dict.fromkeys(COLUMNS, np.nan)
    row |= {"patients": patients, "therapists": therapists, "interaction": size}
    row["trials"] = len(results)
    if not results:
        return row
    mean, lower, upper, above, below = (
        np.array([result[name] for result in results])
        for name in ("mean", "lower", "upper", "above", "below")
    )
    convinced = np.maximum(above, below) >= criterion.probability
    share = convinced.mean()
    row["convincing"] = share
    # Half a trial more of either kind: no share is known without error
    likely = (convinced.sum() + 0.5) / (len(results) + 1)
    row["convincing_error"] = np.sqrt(likely * (1 - likely) / (len(results) + 1))
    row["mean_estimate"], row["mean_width"] = mean.mean(), (upper - lower).mean()
    if convinced.any() and size != 0:
        row["wrong_sign"] = (np.sign(mean[convinced]) != np.sign(size)).mean()
        row["exaggeration"] = np.abs(mean[convinced]).mean() / abs(size)
    return row


def assurance_facts(question: AssuranceQuestion) -> dict[str, Any]:
    """All that decides the results but sizes and numbers of trials, for the store."""
    assumed = asdict(question.assumptions)
    over_time = {name: spec.to_dict() for name, spec in question.visits.items()}
    if not over_time:
        assumed = {k: own for k, own in assumed.items() if k not in OF_VISITS}
    return {
        "what": "assurance",
        "versions": installed_versions(),
        "arms": list(question.study.arms),
        "covariates": list(question.study.covariates),
        "has baseline": question.study.outcomes[question.spec.outcome].baseline is not None,
        "contrast": question.contrast,
        "model": question.spec.to_dict(),
        "assumptions": assumed,
        "threshold": question.criterion.threshold,
        "nested": question.nested,
        "seed": question.seed,
        "engine": question.engine,
        "profile": PROFILE.to_dict(),
        **({"visits": over_time} if over_time else {}),
    }
