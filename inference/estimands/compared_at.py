"""Where on the alliance the arms are compared: at the analysed patients' mean, or at a named value.

With an interaction every contrast of arms, and the intercept, belongs to one value of the alliance.
Unless one is named it is the mean over all analysed patients, ratings that are parameters of the
model included (imputed, above a ceiling, or the truth behind a rating of known reliability), and
these for every draw anew: the same mean that averaging over the trial's patients takes. Where the
link is curved, contrasts are averages over the patients at their own alliance, or with every
alliance set to the named value: every patient is imagined in every arm, with an average therapist,
and expected scores are averaged over the patients (`inference.scores.questions`). For a Gaussian
outcome the same averages are its coefficients, so that all families answer in the same words on the
outcome's own scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.levels import AVERAGE, contrast_names, slope_names
from alliance.data_prep.study.rules import OWN_FAMILIES
from alliance.inference.draws.summaries import by_columns
from alliance.inference.posterior import Posterior, Rows
from alliance.inference.ranges import beyond, require_observed, require_on_scale
from alliance.inference.scores.questions import Question, arm_slopes, own_alliance
from alliance.models.design.design import Design
from alliance.models.design.encoding import arm_pairs

Array = NDArray[np.float64]


def average_response(posterior: Posterior, at: float | None = None) -> dict[str, Array]:
    """Average expected scores, their slopes and variances over the trial's patients.

    Parameters
    ----------
    posterior : Posterior
        Where the alliance is latent, with ``moderator_latent``.
    at : float, optional
        The alliance, in its own points, that the patients are imagined with; their own by default.

    Returns
    -------
    dict of str to ndarray, shape (d, K)
        For each arm, on the outcome's own scale: ``expected``, the mean expected score; ``slope``,
        its mean change for one SD of the linear predictor's scale; ``variance``, the mean variance
        of a score given its patient and an average therapist.
    """
    asked = Question(
        posterior,
        posterior.rows,
        arms=tuple(range(len(posterior.design.arms))),
        alliance=own_alliance(posterior),
        weights=posterior.design.count,
    )
    if at is None:
        return asked.averaged(_response)
    found = asked.along(np.array([at]), _response)
    return {name: values[..., 0] for name, values in found.items()}


def _response(posterior: Posterior, eta: Array, rows: Rows) -> dict[str, Array]:
    family, scale = posterior.design.family, posterior.design.scale
    parameters, shape = posterior.parameters_in(rows.arm_index), eta.shape

    def stacked(some: slice) -> Array:
        own = {
            name: values[:, some] if name == "residual_sd" and values.shape == shape else values
            for name, values in parameters.items()
        }
        return np.concatenate(family.response(eta[:, some], own, scale))

    found = by_columns(shape, stacked, numbers_each=3, rows=3 * shape[0])
    expected, slope, variance = np.split(found, 3)
    return {
        "expected": scale.offset + scale.unit * expected,
        "slope": scale.unit * scale.link_unit * slope,
        "variance": scale.unit**2 * variance,
    }


def response_estimands(
    posterior: Posterior, response: Mapping[str, Array], moderator_unit: float
) -> dict[tuple[str, str], Array]:
    """Reported quantities of a family with a curved link.

    Parameters
    ----------
    posterior : Posterior
    response : mapping of str to ndarray, shape (d, K)
        As from `average_response`.
    moderator_unit : float
        SD of the moderator for slopes per point, 1 for slopes per SD.

    Returns
    -------
    dict of (quantity, level) to ndarray, shape (d,)
        As in `inference.estimands.estimands.linear_estimands`; slopes are average derivatives of
        the expected score.
    """
    design = posterior.design
    arms = design.arms
    names = contrast_names(arms)
    levels = [(names[k, j], k, j) for k, j in arm_pairs(len(arms))]
    slopes = response["slope"] * arm_slopes(posterior) / moderator_unit
    moderated = list(design.encoding.moderated)
    overall = response["slope"].mean(axis=1)
    interaction = design.encoding.interaction
    found = {("intercept", ""): response["expected"].mean(axis=1)}
    if design.has_baseline:
        found["baseline_slope", ""] = (
            overall * posterior.coefficient("baseline") / design.scaling.baseline[1]
        )
    if moderated:
        found["moderator_slope", AVERAGE] = slopes[:, moderated].mean(axis=1)
    if interaction:
        own = slope_names(arms)
        found |= {("moderator_slope", own[k]): slopes[:, k] for k in moderated}
    for level, later, earlier in levels:
        found["arm_contrast", level] = (
            response["expected"][:, later] - response["expected"][:, earlier]
        )
    if interaction:
        for level, later, earlier in levels:
            if {later, earlier} <= set(moderated):
                found["interaction", level] = slopes[:, later] - slopes[:, earlier]
    columns = design.encoding.places("covariate")
    for k, name, unit in design.encoding.seen_columns:
        slope = posterior.beta[:, columns[k]]
        found["covariate_slope", name] = overall * slope / unit
    return found


# Quantities of a straight link that belong to one value of the alliance.
BELONG = (
    *("intercept", "arm_contrast", "therapist_sd", "therapist_icc"),
    *("clinic_sd", "clinic_icc"),
)
# SDs by which a mean of standardised ratings may miss zero through rounding alone.
ROUNDING = 1e-8


class Run(Protocol):
    """Fitted outcomes by name."""

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Their names."""

    def __getitem__(self, outcome: str) -> Posterior: ...


def standard_alliance(posterior: Posterior, at: float | None = None) -> Array:
    """Standardised alliance at which arms are compared, for every draw.

    Parameters
    ----------
    posterior : Posterior
    at : float, optional
        In the alliance's own points; by default the mean over the analysed patients, of an outcome
        over time over the patients with any visit, so that all visits compare arms at one place.

    Returns
    -------
    ndarray, shape (d,)
    """
    design = posterior.design
    total = posterior.total
    if at is None and posterior.over_time:
        return np.zeros(total)
    if at is not None:
        centre, sd = design.scaling.moderator
        return np.full(total, (at - centre) / sd)
    if design.given is not None:
        place = [design.coefficients.index(name) for name in ("intercept", "moderator")]
        moments = design.moments
        mean = np.atleast_1d(moments.XtX[place[0], place[1]] / moments.count.sum())
    else:
        counted = design.count * design.can_have_moderator
        mean = posterior.alliance() @ counted / max(counted.sum(), 1.0)
    mean = np.where(np.abs(mean) < ROUNDING, 0.0, mean)
    return np.asarray(np.broadcast_to(mean, total))


def own_points(design: Design, standard: Array) -> float:
    """Posterior mean of a standardised alliance, in its own points."""
    centre, sd = design.scaling.moderator
    return float(centre + sd * standard.mean())


def mean_alliance(posterior: Posterior) -> float:
    """Mean alliance of an outcome's analysed patients, latent ratings at their posterior means.

    Parameters
    ----------
    posterior : Posterior
    """
    return own_points(posterior.design, standard_alliance(posterior))


def require_place(posterior: Posterior, at: float | None, *, extrapolate: bool) -> None:
    """Refuse a value that the alliance cannot have, or, unless asked for, that was not observed.

    Parameters
    ----------
    posterior : Posterior
    at : float or None
        In the alliance's own points; None is the mean, which always serves.
    extrapolate : bool

    Raises
    ------
    InputError
        A run without patients' rows knows the scale alone.
    """
    if at is None:
        return
    moderator = posterior.study.measure  # refused without one
    require_on_scale([at], moderator.range, moderator.label)
    if not posterior.rowless:
        require_observed(
            [at], posterior.observed_alliance, moderator.label, extrapolate=extrapolate
        )


def place_in_words(posterior: Posterior, at: float | None = None) -> str:
    """Where an outcome's arms are compared, to follow the words "arm contrasts".

    Parameters
    ----------
    posterior : Posterior
    at : float, optional
        The named value.
    """
    design = posterior.design
    straight = design.family.link == "identity"
    if not design.has_moderator:
        if straight:
            return "are the same for all patients (the study has no moderator)"
        return "averaged over the analysed patients, under an average therapist"
    name = posterior.study.measure.name
    if at is not None:
        value = f"{name} {at:g}"
        if not posterior.rowless:
            low, high = posterior.observed_alliance
            if beyond([at], (low, high))[0]:
                value += f" (extrapolated: ratings run from {low:g} to {high:g})"
        if straight:
            return f"at {value}, as named"
        return f"averaged over the analysed patients, each with {value}, under an average therapist"
    mean = f"{mean_alliance(posterior):.4g}"
    without = _arms_without(posterior)
    if straight:
        of_whom = f" of the arms that have one ({_arms_with(posterior)})" if without else ""
        return (
            f"at {name} {mean}, the mean of the analysed patients{of_whom}{_latent(design, name)}"
        )
    others = f"; those of {without}, who have none, with this mean" if without else ""
    return (
        f"averaged over the analysed patients, each with their own {name} (mean "
        f"{mean}{_latent(design, name)}{others}), under an average therapist"
    )


def _arms_with(posterior: Posterior) -> str:
    """Arms whose patients can have the alliance."""
    return ", ".join(posterior.study.rated_arms)


def _arms_without(posterior: Posterior) -> str:
    """Arms whose patients cannot have the alliance; nothing where all can."""
    return ", ".join(arm for arm in posterior.study.arms if arm not in posterior.study.rated_arms)


def _latent(design: Design, name: str) -> str:
    """Which of the patients' ratings the model holds as parameters."""
    spec, told = design.moderator, []
    if spec.reliability is not None and spec.reliability < 1:
        told.append(f"true {name} behind the ratings")
    if spec.missing == "impute" and design.moderator_missing.any():
        told.append(f"{int(design.moderator_missing.sum())} imputed")
    if spec.ceiling is not None:
        told.append("above the ceiling as modelled")
    return f" ({', '.join(told)})" if told else ""


def places_in_words(fit: Run, at: float | None = None) -> str:
    """A sentence on where the arms of all outcomes are compared.

    Parameters
    ----------
    fit : Run
    at : float, optional
        The named value.
    """
    groups: dict[str, list[str]] = {}
    for outcome in fit.outcomes:
        groups.setdefault(place_in_words(fit[outcome], at), []).append(_label(fit, outcome))
    if len(groups) == 1:
        (words,) = groups
        return f"Arm contrasts {words}."
    told = "; ".join(f"{', '.join(names)}: {words}" for words, names in groups.items())
    return f"Arm contrasts. {told}."


def _label(fit: Run, outcome: str) -> str:
    """An outcome's label, or its name where another has the same label."""
    described = fit[outcome].study.outcomes
    own = described[outcome].label
    return own if sum(each.label == own for each in described.values()) == 1 else outcome


def comparison_places(fit: Run, at: float | None = None) -> list[str]:
    """Sentences on where posterior, refits and publications compare the arms.

    Parameters
    ----------
    fit : Run
    at : float, optional
        The named value.
    """
    study = fit[fit.outcomes[0]].study
    if study.moderator is None:
        told = [places_in_words(fit, at)]
        curved = [each for each in _curved(fit) if fit[each].design.family.name not in OWN_FAMILIES]
        return [*told, _about_curved(curved)] if curved else told
    name = study.moderator.name
    same = "same alliance" if name == "alliance" else f"same value of {name}"
    events = [each for each in fit.outcomes if fit[each].design.family.name in OWN_FAMILIES]
    models = "OLS and REML" if not events else "ML"
    if 0 < len(events) < len(fit.outcomes):
        models = "OLS, REML and ML"
    told = [
        f"{places_in_words(fit, at)} {models}: at the {same}"
        + (" (the mean, where the posterior is averaged)." if _curved(fit) and at is None else ".")
    ]
    if len(partly := [each for each in fit.outcomes if _unrated(fit[each])]):
        told.append(f"{', '.join(partly)}: {models} have the patients with a rating alone.")
    if at is not None:
        told.append("Published contrasts are those of the printed analysis, wherever that was.")
    if curved := [each for each in _curved(fit) if each not in events]:
        told.append(_about_curved(curved))
    return told


def _about_curved(outcomes: Sequence[str]) -> str:
    return (
        f"{', '.join(outcomes)}: the link is curved. The posterior speaks of an average "
        "therapist, OLS and REML of the mean over therapists, as a rule some percent nearer "
        "zero."
    )


def _curved(fit: Run) -> list[str]:
    return [name for name in fit.outcomes if fit[name].design.family.link != "identity"]


def _unrated(posterior: Posterior) -> bool:
    return bool(posterior.design.moderator_missing.any())


def compared_at(fit: Run) -> dict[str, dict[str, float | str]]:
    """Where each outcome's arms are compared by default, as plain values for the manifest.

    Parameters
    ----------
    fit : Run

    Returns
    -------
    dict of outcome to dict
        ``mean`` alliance of the analysed patients, and ``contrasts``: ``"at the mean"``, or
        ``"averaged over the patients"`` where the link is curved. Empty without a moderator.
    """
    straight = {name: fit[name].design.family.link == "identity" for name in fit.outcomes}
    return {
        name: {
            "mean": mean_alliance(fit[name]),
            "contrasts": "at the mean" if straight[name] else "averaged over the patients",
        }
        for name in fit.outcomes
        if fit[name].design.has_moderator
    }
