"""Published findings, linear-model refits and the posterior, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pandas as pd

from alliance.data_prep.errors import InputError
from alliance.data_prep.study.rules import OWN_FAMILIES
from alliance.inference.estimands.compared_at import mean_alliance
from alliance.inference.published.findings import Finding, verdict
from alliance.inference.published.maximum_likelihood import likelihood_refit
from alliance.inference.published.refits import refit
from alliance.inference.published.visit_refits import refit_visits
from alliance.inference.runs.fit import Fit, visits_of
from alliance.models.spec import over_time

DegreesOfFreedom = Literal["satterthwaite", "kenward-roger"]
REML_DF = "reml_df_method"  # attribute of the table

KEY = ["outcome", "quantity", "level"]
MODELS = ("ols_main", "ols", "ols_robust", "reml")
OF_EVENTS = ("ml_main", "ml")  # of events and counts, for which linear models do not stand
# Degrees of freedom; with fewer a robust interval holds too little (Tipton 2015,
# doi:10.1037/met0000011).
FEW = 4
VERDICT_COLUMNS = (
    "claim",
    "published_estimate",
    "published_lower",
    "published_upper",
    "published_p",
    "verdict",
    "explanation",
    "known_by",
    "source",
    "note",
)
POSTERIOR = {
    "mean": "posterior_mean",
    "sd": "posterior_sd",
    "lower": "posterior_lower",
    "upper": "posterior_upper",
    "prob_positive": "prob_positive",
}


def compare(
    fit: Fit,
    findings: Sequence[Finding] = (),
    *,
    interval: float = 0.95,
    robust: bool = False,
    at: float | None = None,
    extrapolate: bool = False,
    df: DegreesOfFreedom = "satterthwaite",
    outcomes: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Every reported quantity from each source, with a verdict on what was published.

    Parameters
    ----------
    fit : Fit
    findings : sequence of Finding
        Published findings; those of outcomes that were not fitted are left out.
    interval : float
        Probability of all intervals but the published ones.
    robust : bool
        Whether OLS is given with cluster-robust standard errors by therapist, too.
    at, extrapolate
        Where arms are compared, as of `inference.runs.fit.Fit.summary`. Refits, which have the
        patients with a rating alone, compare them at the same value: by default the mean over
        all whom the posterior analyses. Published numbers stand as printed.
    df : {"satterthwaite", "kenward-roger"}
        Standard errors of REML of outcomes over time: those of generalised least squares, or those
        that allow for the estimation of the covariances; degrees of freedom are Satterthwaite's.
    outcomes : sequence of str, optional
        Some of the fit's, and of visits; all by default.

    Returns
    -------
    pandas.DataFrame
        One row for each quantity and each finding about it, in the order of the tidy table.
        ``outcome, quantity, level``; ``claim, published_estimate, published_lower,
        published_upper, published_p`` (as later arm minus earlier on the outcome's scale);
        for each model of `inference.published.refits.refit` ``MODEL_estimate, _se, _df, _lower,
        _upper, _p_value`` (limits and p from Student's t with ``df`` degrees of freedom);
        ``posterior_mean, posterior_sd, posterior_lower, posterior_upper, prob_positive``;
        ``verdict, explanation, known_by, source, note, refit_note``; and ``at``, the alliance to
        which intercept, contrasts and the SD between therapists of the posterior belong, missing
        for averages over the patients at their own alliance. Outcomes of events and counts have
        the models of `inference.published.maximum_likelihood` (``ml``, ``ml_main``) in the place
        of linear ones. Under a curved link the posterior
        speaks of an average therapist, and the refits are linear models of the scores, whose
        contrasts are averages over therapists as well.
    """
    if fit.several_trials:
        raise InputError(
            "OLS and REML are refits of one trial, and this run is of several.",
            "`alliance trials` shows them side by side; to hold one of them against OLS, REML or a "
            "paper, fit its own file or share by itself, and compare that run.",
        )
    visited = over_time(fit.specs)
    if df != "satterthwaite" and not visited:
        raise InputError(
            "Kenward and Roger's standard errors are those of outcomes over time, and there is "
            "none.",
            "Leave `df` out.",
        )
    summary = fit.summary(interval=interval, at=at, extrapolate=extrapolate, over_visits=False)
    if outcomes is not None:
        summary = summary[summary["outcome"].isin(outcomes)].reset_index(drop=True)
    table = summary[[*KEY, *POSTERIOR, "at"]].rename(columns=POSTERIOR)
    places = {name: mean_alliance(fit[name]) if at is None else at for name in fit.outcomes}
    refits = pd.concat(
        [
            _refit(fit, outcome, place, interval=interval, robust=robust)
            for outcome, place in places.items()
        ],
        ignore_index=True,
    )
    if visited:
        # The REML of one visit by itself gives way to that of all, which the posterior has
        at_visits = [name for names in visited.values() for name in names]
        alone = refits["outcome"].isin(at_visits) & (refits["model"] == "reml")
        adjusted = df == "kenward-roger"
        whole = [
            refit_visits(visits_of(fit, name), interval=interval, at=at, kenward_roger=adjusted)
            for name in visited
        ]
        refits = pd.concat([refits[~alone], *whole], ignore_index=True)
    models = list(MODELS if robust else [name for name in MODELS if name != "ols_robust"])
    models += OF_EVENTS if refits["model"].isin(OF_EVENTS).any() else ()
    for model in models:
        part = refits[refits["model"] == model].drop(columns=["model", "note"])
        renamed = {name: f"{model}_{name}" for name in part.columns if name not in KEY}
        table = table.merge(part.rename(columns=renamed), on=KEY, how="left")
    notes = {outcome: _notes(fit, outcome, refits) for outcome in fit.outcomes}
    table["refit_note"] = [notes.get(outcome, "") for outcome in table["outcome"]]
    table = table.merge(_verdicts(fit, findings, summary, interval), on=KEY, how="left")
    front = list(VERDICT_COLUMNS[:5])
    refitted = [name for name in table.columns if name.startswith((*MODELS, "ml_"))]
    back = list(VERDICT_COLUMNS[5:])
    columns = [*KEY, *front, *refitted, *POSTERIOR.values(), *back, "refit_note", "at"]
    found = table[columns]
    found.attrs[REML_DF] = df
    return found


def _refit(fit: Fit, outcome: str, place: float, *, interval: float, robust: bool) -> pd.DataFrame:
    """An outcome's models without priors: linear ones, or those of events and counts."""
    if fit.specs[outcome].family in OWN_FAMILIES:
        return likelihood_refit(fit[outcome], fit.specs[outcome], interval=interval, at=place)
    return refit(fit.linear_design(outcome), interval=interval, robust=robust, at=place)


def refit_words(table: pd.DataFrame) -> list[str]:
    """What the intervals of a comparison's refits are, in sentences.

    Parameters
    ----------
    table : pandas.DataFrame
        As from `compare`.
    """
    lines = []
    if table["reml_estimate"].notna().any():
        errors = " and Kenward and Roger's standard errors, of outcomes over time;"
        lines.append(
            "REML: intervals from Student's t with Satterthwaite's degrees of freedom"
            + (errors if table.attrs.get(REML_DF) == "kenward-roger" else ";")
            + " in a singular fit what is estimated as zero counts as known."
        )
    if "ml_estimate" in table:
        lines.append(
            "ML: logistic regression of events, negative binomial regression of counts, by maximum "
            "likelihood and without therapists' effects; standard errors by the delta method. "
            "Software that is kept here has no maximum likelihood with therapists' effects: where "
            "therapists differ, conditional odds ratios of ML are nearer to one than the "
            "posterior's, which are of patients with the same therapist."
        )
    if "ols_robust_df" in table and table["ols_robust_df"].notna().any():
        line = (
            "OLS, robust: standard errors that allow for therapists (CR2), t with Bell and "
            "McCaffrey's degrees of freedom."
        )
        if (table["ols_robust_df"] < FEW).any():
            line += f" Some have fewer than {FEW}: such an interval is not to be trusted."
        lines.append(line)
    return lines


def _notes(fit: Fit, outcome: str, refits: pd.DataFrame) -> str:
    """What a reader must know of an outcome's refits."""
    found = list(refits.loc[refits["outcome"] == outcome, "note"].unique())
    if fit.specs[outcome].therapist_by_arm and fit.specs[outcome].family not in OWN_FAMILIES:
        found.append("REML is without therapists' own arm effects, which the posterior has")
    return "; ".join(note for note in found if note)


def _verdicts(
    fit: Fit, findings: Sequence[Finding], summary: pd.DataFrame, interval: float
) -> pd.DataFrame:
    posterior = {
        (row["outcome"], row["quantity"], row["level"]): row for row in summary.to_dict("records")
    }
    rows = []
    for printed in findings:
        key = (printed.outcome, printed.quantity, printed.level)
        if key not in posterior:
            continue
        better = fit.study.outcomes[printed.outcome].better
        finding, row = printed.as_difference(better), posterior[key]
        judged = verdict(
            finding,
            lower=row["lower"],
            upper=row["upper"],
            estimate=row["mean"],
            better=better,
            probability=interval,
        )
        rows.append(
            (
                *key,
                finding.claim,
                finding.estimate,
                finding.lower,
                finding.upper,
                finding.p,
                judged.word,
                judged.explanation,
                finding.known_by,
                finding.source,
                finding.note or "",
            )
        )
    frame = pd.DataFrame(rows, columns=[*KEY, *VERDICT_COLUMNS])
    numbers = ["published_estimate", "published_lower", "published_upper", "published_p"]
    return frame.astype(dict.fromkeys(numbers, float))
