"""The choices behind a run in words: what was fitted, and where that departs from the defaults.

Several runs of one study side by side: what a choice of the model changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import pandas as pd

from alliance.data_prep.errors import InputError
from alliance.data_prep.study.description import Study
from alliance.data_prep.study.parts import ModelSettings
from alliance.inference.estimands.estimands import infinite_variance
from alliance.inference.estimands.missing_outcomes import SHIFTED, stated_shifts, unseen_patients
from alliance.inference.posterior import Posterior
from alliance.inference.runs.fit import Fit
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec

if TYPE_CHECKING:
    from alliance.inference.runs.fit import Fit


FAMILY_WORDS = {
    "gaussian": "Gaussian",
    "student_t": "Student-t",
    "ordinal": "ordinal",
    "beta_binomial": "beta-binomial",
    "binary": "binary (logistic)",
    "count": "count (negative binomial)",
}
THERAPIST_WORDS = {
    "none": "none",
    "intercept": "intercept",
    "intercept+slope": "intercept and slope",
}
BETWEEN_WORDS = ", both slopes by arm"
ALLIANCE_WORDS = {"total": "total", "within_between": "within and between therapists"}
TIED = ("baseline", "moderator", "interaction", "covariate")  # what a study may tie over visits
MISSING_WORDS = {"complete_case": "patients left out", "impute": "imputed inside the model"}


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice of an analysis.

    Attributes
    ----------
    aspect : str
        What was to be chosen.
    words : str
        What was chosen; where outcomes differ, each group of them in brackets.
    default : bool
        Whether it is what a study file without settings gets.
    """

    aspect: str
    words: str
    default: bool

    def __str__(self) -> str:
        return f"{self.aspect}: {self.words}"


def model_choices(fit: Fit) -> tuple[Choice, ...]:
    """Every choice behind a fit.

    Parameters
    ----------
    fit : Fit

    Returns
    -------
    tuple of Choice
        Always the same aspects in the same order, but for those of the alliance in a plain trial.

    Raises
    ------
    InputError
        If the study shifts unseen outcomes, and the run does not hold their counts.
    """
    model, plain = fit.study.model, ModelSettings()

    def by_outcome(
        aspect: str, tell: Callable[[ModelSpec], str], default: Callable[[ModelSpec], bool]
    ) -> Choice:
        words = {outcome: tell(spec) for outcome, spec in fit.specs.items()}
        return Choice(aspect, _grouped(words), all(map(default, fit.specs.values())))

    rated = fit.study.rated_arms
    some_arms = len(rated) < len(fit.study.arms)
    native = model.likelihood != plain.likelihood
    family = _grouped({name: _family(fit[name]) for name in fit.specs})
    found = (
        Choice(
            "likelihood",
            f"each outcome's own family, {family}" if native else f"{family}, as published",
            not native,
        ),
        by_outcome(
            "therapist effects",
            lambda spec: _therapists(spec, fit.study),
            lambda spec: (
                spec.therapist == (plain.therapist if rated else "intercept")
                and not spec.without_therapist
            ),
        ),
        *([Choice("trials", _trials(model), False)] if fit.several_trials else []),
        *_clinics(fit),
        by_outcome(
            "arm effects",
            lambda spec: (
                "vary between therapists"
                if spec.therapist_by_arm
                else "the same for all therapists"
            ),
            lambda spec: spec.therapist_by_arm == plain.therapist_by_arm,
        ),
        by_outcome(
            "residual SD",
            lambda spec: residual_words(spec, fit.study),
            lambda spec: (
                spec.nesting(list(fit.study.arms)).number == 1
                and not (spec.several_trials != "no" and spec.residual_by_trial)
            ),
        ),
        by_outcome(
            "alliance",
            lambda spec: (
                ALLIANCE_WORDS[spec.moderator.structure]
                + BETWEEN_WORDS * spec.moderator.between_interaction
                + f", of patients of {', '.join(rated)} alone" * some_arms
            ),
            lambda spec: spec.moderator.structure == plain.alliance and not some_arms,
        ),
        by_outcome(
            "alliance slope",
            lambda spec: (
                "differs between arms"
                if spec.interaction
                else "of one arm"
                if len(rated) == 1
                else "the same in all arms"
            ),
            lambda spec: spec.interaction == (len(rated) > 1),
        ),
        by_outcome(
            "missing alliance",
            lambda spec: MISSING_WORDS[spec.moderator.missing],
            lambda spec: spec.moderator.missing == plain.missing_alliance,
        ),
        by_outcome(
            "alliance ratings",
            lambda spec: _ratings(spec.moderator.reliability, spec.moderator.ceiling),
            lambda spec: spec.moderator.reliability is None and spec.moderator.ceiling is None,
        ),
        Choice(
            "outcomes",
            "all in one model" if model.joint else "one at a time",
            model.joint == plain.joint,
        ),
        Choice(
            "patients",
            "those with all outcomes" if model.common_patients else "of each outcome by itself",
            model.common_patients == plain.common_patients,
        ),
        _unseen_outcomes(fit),
        *_visits(fit),
        by_outcome(
            "priors", lambda spec: _priors(spec.priors), lambda spec: spec.priors == Priors()
        ),
    )
    return tuple(each for each in found if rated or "alliance" not in each.aspect)


def _therapists(spec: ModelSpec, study: Study) -> str:
    """What varies between therapists, and which arms have none."""
    if study.columns.therapist is None:
        return (
            "none, as no therapist is recorded: patients count as independent, as in an ordinary "
            "regression, which ignores therapists too"
        )
    own = THERAPIST_WORDS[spec.therapist]
    if not spec.without_therapist:
        return own
    return f"{own}, in the arms that have therapists (not {', '.join(spec.without_therapist)})"


def _clinics(fit: Fit) -> list[Choice]:
    """What varies between clinics; nothing where none are recorded."""
    if fit.study.columns.clinic is None:
        return []
    words = {name: THERAPIST_WORDS[spec.clinic] for name, spec in fit.specs.items()}
    usual = all(spec.clinic == ModelSettings().clinic for spec in fit.specs.values())
    return [Choice("clinic effects", _grouped(words), usual)]


def residual_words(spec: ModelSpec, study: Study) -> str:
    """Which arms have a residual SD of their own.

    Parameters
    ----------
    spec : ModelSpec
    study : Study
    """
    if spec.several_trials != "no" and spec.residual_by_trial:
        return "one for each trial"
    nesting = spec.nesting(list(study.arms))
    if nesting.number == 1:
        return "one for all arms"
    if spec.residual_by_arm:
        return "one for each arm"
    return f"one of its own in {' and in '.join(spec.without_therapist)}"


def _trials(model: ModelSettings) -> str:
    """What several trials share, and what each has for itself."""
    shared = {
        "varying": "arm contrasts and alliance slopes vary around an average trial",
        "fixed": "arm contrasts and alliance slopes the same in all",
    }
    own = ", residual SDs" * model.residual_by_trial
    return (
        f"several, {shared[model.several_trials]}; levels, baseline and covariate slopes{own} of "
        "each; alliance around each trial's mean"
    )


def _visits(fit: Fit) -> list[Choice]:
    """How outcomes over time are modelled; nothing where there are none."""
    words, plain, departs = {}, ModelSettings(), False
    for spec in fit.specs.values():
        if (visit := spec.visits) is not None:
            sds = "an SD for each visit" if visit.sd_by_visit else "one SD"
            tied = [kind for kind in TIED if kind not in visit.by_visit]
            if not fit.study.covariates:
                tied = [kind for kind in tied if kind != "covariate"]
            told = [f"residuals {visit.correlation.replace('_', ' ')}, {sds}"]
            told += [f"{' and '.join(tied)} slopes the same at all visits"] if tied else []
            told += ["therapists deviate at each visit"] if visit.therapist_by_visit else []
            words[visit.outcome] = "; ".join(told)
            usual = {"intercept", "arm", *(kind for kind in TIED if kind != "covariate")}
            departs |= (
                visit.correlation != plain.visit_correlation
                or visit.sd_by_visit != (plain.visit_sd == "by_visit")
                or set(visit.by_visit) != usual
                or visit.therapist_by_visit
            )
    return [Choice("visits", _grouped(words), not departs)] if words else []


def _grouped(words: dict[str, str]) -> str:
    """What all outcomes share, or each variant with its outcomes in brackets."""
    variants = list(dict.fromkeys(words.values()))
    if len(variants) == 1:
        return variants[0]
    return ", ".join(
        f"{variant} ({', '.join(name for name, own in words.items() if own == variant)})"
        for variant in variants
    )


def _family(posterior: Posterior) -> str:
    name = posterior.design.family.name
    told = FAMILY_WORDS.get(name, name.replace("_", " "))
    share = 0.0
    if name == "student_t":
        share = infinite_variance(posterior)
    if not share:
        return told
    return (
        f"{told}, whose variance is infinite (two degrees of freedom or fewer) in {share:.1%} of "
        "the draws: residual SD infinite there, therapists' share zero"
    )


def _ratings(reliability: float | None, ceiling: float | None) -> str:
    parts = []
    if reliability is not None:
        parts.append(f"true score plus noise, reliability {reliability:g}")
    if ceiling is not None:
        parts.append(f"cut off at the ceiling {ceiling:g}")
    return " and ".join(parts) or "taken as they are"


def _unseen_outcomes(fit: Fit) -> Choice:
    """The shifts of unseen outcomes, with the number of patients that each speaks of."""
    told = []
    for outcome in fit.outcomes:
        shifts = {arm: shift for arm, shift in stated_shifts(fit.study, outcome).items() if shift}
        if shifts:
            counts = unseen_patients(fit.study, fit.manifest, outcome)
            by_arm = [
                f"{arm} by {shift:+g} ({counts[arm][0]} of {counts[arm][1]} patients unseen)"
                for arm, shift in shifts.items()
            ]
            told.append(f"{outcome} in {', '.join(by_arm)}")
    if not told:
        return Choice("unseen outcomes", "missing at random given the model", True)
    words = f"missing at random, in {SHIFTED} shifted: {'; '.join(told)}"
    return Choice("unseen outcomes", words, False)


def _priors(priors: Priors) -> str:
    default, own = asdict(Priors()), asdict(priors)
    changed = [f"{name} {own[name]:g}" for name, value in default.items() if own[name] != value]
    if (known := priors.slope) is not None:
        changed.append(
            f"moderator slope {known.weight:g} from {known.entry}, N({known.location:.3g}, "
            f"{known.spread:.2g}) in SDs, and {1 - known.weight:g} N(0, {priors.moderator_slope:g})"
        )
    return f"default but for {', '.join(changed)}" if changed else "default"


KEY = ["outcome", "quantity", "level"]
SHOWN = ("mean", "sd", "lower", "upper", "at")


def runs_beside(
    runs: Mapping[str, Fit],
    *,
    interval: float = 0.95,
    at: float | None = None,
    extrapolate: bool = False,
) -> pd.DataFrame:
    """Posterior summaries of several runs, on the outcome's own scale, in one table.

    Parameters
    ----------
    runs : mapping of str to Fit
        By the name that the columns bear; at least two, with an outcome in common.
    interval : float
        Probability of the equal-tailed intervals.
    at, extrapolate
        Where arms are compared in every run, as of `inference.runs.fit.Fit.summary`; by default at
        the mean of each run's own analysed patients.

    Returns
    -------
    pandas.DataFrame
        Columns ``outcome, quantity, level`` and for each run ``RUN_mean, RUN_sd, RUN_lower,
        RUN_upper, RUN_at``, missing where a run has no such quantity. Rows of the first run come
        first.

    Raises
    ------
    InputError
        If two runs share no outcome, or hold one on different scales.
    """
    first, *others = runs
    for name in others:
        _require_comparable(first, runs[first], name, runs[name])
    summaries = {
        name: fit.summary(interval=interval, at=at, extrapolate=extrapolate, over_visits=False)
        for name, fit in runs.items()
    }
    table = pd.concat([summary[KEY] for summary in summaries.values()]).drop_duplicates()
    outcomes = table["outcome"].unique().tolist()
    table = table.sort_values("outcome", key=lambda names: names.map(outcomes.index), kind="stable")
    for name, summary in summaries.items():
        own = summary[[*KEY, *SHOWN]].rename(columns={each: f"{name}_{each}" for each in SHOWN})
        table = table.merge(own, on=KEY, how="left")
    return table


def _require_comparable(one: str, first: Fit, other: str, second: Fit) -> None:
    common = [name for name in first.outcomes if name in second.outcomes]
    if not common:
        raise InputError(
            f"The runs {one!r} and {other!r} have no outcome in common.",
            f"{one}: {', '.join(first.outcomes)}. {other}: {', '.join(second.outcomes)}.",
        )
    for name in common:
        ranges = [fit.study.outcomes[name].range for fit in (first, second)]
        if ranges[0] != ranges[1]:
            raise InputError(
                f"Outcome {name!r} runs from {ranges[0][0]:g} to {ranges[0][1]:g} in {one!r} and "
                f"from {ranges[1][0]:g} to {ranges[1][1]:g} in {other!r}.",
                "Put runs of one study side by side.",
            )
