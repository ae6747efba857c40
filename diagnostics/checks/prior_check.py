"""Before the data: are the priors plausible on the outcome's own scale?

A prior predictive check (Gabry et al. 2019, doi:10.1111/rssa.12378): trials are simulated from the
priors for the patients at hand, and held against what the outcome's scale allows. Too wide a prior
expects scores that cannot be and effects larger than the scale; too tight a one rules out what is
commonly found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from alliance.data_prep.errors import InputError, nearest
from alliance.data_prep.study.description import Study
from alliance.data_prep.trial.trial import Trial
from alliance.diagnostics.checks.prior_limits import (
    LARGE_THERAPIST_SD,
    LEAST_POSSIBLE,
    MOST_BEYOND,
    MOST_BEYOND_ADJUSTED,
    MOST_IMPOSSIBLE,
    MOST_LARGE_THERAPISTS,
    MOST_OVER_HALF,
    MOST_OVER_HALF_ADJUSTED,
    MOST_SPREAD,
    PLAUSIBLE,
    SMALL_EFFECT,
    SMALL_RESIDUAL_SD,
    TOO_TIGHT,
    TOO_WIDE,
    USUAL_THERAPIST_SD,
    PriorRow,
    central,
)
from alliance.diagnostics.checks.prior_verdicts import prior_results
from alliance.diagnostics.verdicts import CheckResult
from alliance.inference.posterior import Posterior
from alliance.inference.priors.prior_effects import PriorEffect, prior_effects
from alliance.inference.priors.prior_predictive import DRAWS, PriorPredictive, prior_predictive
from alliance.inference.runs.fit import Fit
from alliance.models.design.design import Design, build_design, centre_and_sd
from alliance.models.priors import Priors
from alliance.models.spec import JOINT, specify

ADJUSTED = ("baseline_slope", "covariate_slope")
SCORE, TRIAL_SD = "score", "score_sd"


@dataclass(frozen=True, eq=False, slots=True)
class PriorCheck:
    """What the priors expect of one outcome, and whether that is plausible.

    Attributes
    ----------
    outcome : str
    study : Study
    priors : Priors
    patients : int
        Whose design was used.
    rows : tuple of PriorRow
        Scores, SD of a trial's scores, mean and residual SD, effects, SDs between therapists.
    results : tuple of CheckResult
        The checks prior_scores, prior_spread, prior_effects and prior_therapists: PASS or REVIEW.
    predictive : PriorPredictive
        The simulated trials.
    """

    outcome: str
    study: Study
    priors: Priors
    patients: int
    rows: tuple[PriorRow, ...]
    results: tuple[CheckResult, ...]
    predictive: PriorPredictive

    @property
    def verdict(self) -> str:
        """``plausible``, ``too wide``, ``too tight``, or both of the latter."""
        found = [word for word in (TOO_WIDE, TOO_TIGHT) if word in {r.verdict for r in self.rows}]
        return " and ".join(found) or PLAUSIBLE

    def table(self) -> pd.DataFrame:
        """One row for each quantity, in points of the outcome.

        Returns
        -------
        pandas.DataFrame
            Columns outcome, quantity, level, priors (separated by blanks), start, end, lower,
            median, upper, large, share_large, most_large, small, share_small, least_small,
            share_over_half (see `diagnostics.checks.prior_limits.PriorRow`), verdict. Where a
            therapist's SD is of slopes it is for one SD of the alliance.
        """
        names = [field.name for field in fields(PriorRow)]
        cells = [[getattr(row, name) for name in names] for row in self.rows]
        frame = pd.DataFrame(cells, columns=names)
        frame["priors"] = [" ".join(row.priors) for row in self.rows]
        frame["verdict"] = [row.verdict for row in self.rows]
        frame.insert(0, "outcome", self.outcome)
        return frame


def prior_check(
    source: Trial | Fit, outcome: str, *, draws: int = DRAWS, seed: int = 0
) -> PriorCheck:
    """Simulate trials from the priors, and hold them against the outcome's scale.

    Of the data only the design and the constants of standardisation are used. The outcome's mean
    and SD are among these: the priors are stated in SDs of the outcome, so that they cannot be
    looked at in points without them.

    Parameters
    ----------
    source : Trial or Fit
        A trial, before it is fitted; or a fit, whose priors and patients are then looked at.
    outcome : str
    draws : int
        Simulated trials.
    seed : int
        The same seed gives the same draws.

    Returns
    -------
    PriorCheck

    Raises
    ------
    InputError
        If there is no such outcome, or a prior that the study names does not exist.
    """
    known = source.study.outcomes if isinstance(source, Trial) else source.specs
    if outcome not in known:
        raise InputError(f"There is no outcome {outcome!r}.", nearest(outcome, known))
    if draws < 1:
        raise InputError(f"{draws} draws are none.", "Give a number above zero.")
    design, priors, joint = _specified(source, outcome)
    predictive = prior_predictive(design, priors, draws=draws, seed=seed, joint=joint)
    limits = source.study.outcomes[outcome].range
    rows = (
        *_score_rows(design, priors, predictive, limits),
        *(
            _effect_row(effect, design, limits)
            for effect in prior_effects(design, predictive.design, predictive.draws)
        ),
        *_therapist_rows(design, predictive),
    )
    return PriorCheck(
        outcome=outcome,
        study=source.study,
        priors=priors,
        patients=len(design.y),
        rows=rows,
        results=prior_results(outcome, rows, design, priors, limits),
        predictive=predictive,
    )


def check_priors(source: Trial | Fit, outcome: str) -> tuple[CheckResult, ...]:
    """The checks of one outcome's priors: PASS or REVIEW, see `prior_check`."""
    return prior_check(source, outcome).results


def _specified(source: Trial | Fit, outcome: str) -> tuple[Design, Priors, bool]:
    """Design and priors of an outcome, and whether it is one of a joint model."""
    if isinstance(source, Fit):
        return source.design(outcome), source.specs[outcome].priors, JOINT in source.manifest
    spec, study = specify(source.study)[outcome], source.study
    scale = None
    if study.model.joint:  # one scale of the alliance for the patients of all outcomes
        positions = np.unique(np.concatenate([source.positions(name) for name in study.outcomes]))
        scale = centre_and_sd(source.data["moderator"].values[positions])
    design = build_design(source.analysed(outcome), spec, study.outcomes[outcome].range, scale)
    return design, spec.priors, study.model.joint


def _score_rows(
    design: Design, priors: Priors, predictive: PriorPredictive, limits: tuple[float, float]
) -> list[PriorRow]:
    """Scores, the SD of a trial's, and where the family has them, mean and residual SD."""
    (low, high), scores = limits, predictive.scores
    mean, sd = design.scaling.outcome
    half = (high - low) / 2
    if design.family.discrete:  # impossible scores are impossible here: they heap at the ends
        beyond = (scores == low) | (scores == high)
        categories = design.scale.top + 1
        # Half way between scores spread evenly and scores at the ends alone.
        most = (1 + 2 / categories) / 2
    else:
        beyond = (scores < low) | (scores > high)
        most = MOST_IMPOSSIBLE
    nothing = (np.nan, np.nan)
    rows = [
        PriorRow(
            SCORE,
            "at the ends" if design.family.discrete else "outside the range",
            (),
            *nothing,
            *central(scores),
            share_large=float(beyond.mean()),
            most_large=most,
        )
    ]
    spread = scores.std(axis=1, ddof=1)
    rows.append(
        PriorRow(
            TRIAL_SD,
            "",
            (),
            *nothing,
            *central(spread),
            large=half,
            share_large=float((spread > half).mean()),
            most_large=MOST_SPREAD,
            small=sd,
            share_small=float((spread >= sd).mean()),
            least_small=LEAST_POSSIBLE,
        )
    )
    if design.family.link != "identity":
        return rows
    beta = predictive.draws["beta"].values[0]
    centre = mean + sd * beta[:, list(predictive.draws["coefficient"].values).index("intercept")]
    rows.append(
        PriorRow(
            "intercept",
            "",
            ("intercept",),
            *nothing,
            *central(centre),
            share_large=float(((centre < low) | (centre > high)).mean()),
            most_large=MOST_BEYOND,
            small=SMALL_EFFECT * sd,
            share_small=float((np.abs(centre - mean) >= SMALL_EFFECT * sd).mean()),
            least_small=LEAST_POSSIBLE,
        )
    )
    auxiliary = Posterior(design, predictive.draws).family_parameters
    flat_line = np.zeros((len(centre), 1))
    residual = sd * np.sqrt(design.family.variance(flat_line, auxiliary, design.scale)[:, 0])
    rows.append(
        PriorRow(
            "residual_sd",
            "",
            ("residual_sd",),
            *nothing,
            *central(residual),
            large=half,
            share_large=float((residual > half).mean()),
            most_large=MOST_BEYOND,
            small=SMALL_RESIDUAL_SD * sd,
            share_small=float((residual >= SMALL_RESIDUAL_SD * sd).mean()),
            least_small=LEAST_POSSIBLE,
        )
    )
    return rows


def _effect_row(effect: PriorEffect, design: Design, limits: tuple[float, float]) -> PriorRow:
    scale, size = limits[1] - limits[0], np.abs(effect.change)
    adjusted = effect.quantity in ADJUSTED
    if design.family.discrete:
        large, most = scale / 2, MOST_OVER_HALF_ADJUSTED if adjusted else MOST_OVER_HALF
    else:
        large, most = scale, MOST_BEYOND_ADJUSTED if adjusted else MOST_BEYOND
    return PriorRow(
        effect.quantity,
        effect.level,
        effect.priors,
        effect.start,
        effect.end,
        *central(effect.change),
        large=large,
        share_large=float((size > large).mean()),
        most_large=most,
        small=SMALL_EFFECT * design.scaling.outcome[1],
        share_small=float((np.abs(effect.standard) >= SMALL_EFFECT).mean()),
        least_small=LEAST_POSSIBLE,
        share_over_half=float((size > scale / 2).mean()),
    )


def _therapist_rows(design: Design, predictive: PriorPredictive) -> Sequence[PriorRow]:
    """SDs between therapists: of mean scores, of what one SD of alliance does, of arm contrasts."""
    sd = design.scaling.outcome[1]
    usual = {"therapist_sd": USUAL_THERAPIST_SD}
    unit = {"therapist_arm_sd": np.sqrt(2)}
    rows = []
    for name in ("therapist_sd", "therapist_slope_sd", "therapist_arm_sd"):
        if name not in predictive.draws:
            continue
        size = unit.get(name, 1.0) * predictive.draws[name].values[0]
        lower = usual.get(name)
        told = {} if lower is None else {"small": lower * sd, "least_small": LEAST_POSSIBLE}
        if lower is not None:
            told["share_small"] = float((size >= lower).mean())
        rows.append(
            PriorRow(
                name,
                "",
                (name,),
                np.nan,
                np.nan,
                *central(sd * size),
                large=LARGE_THERAPIST_SD * sd,
                share_large=float((size > LARGE_THERAPIST_SD).mean()),
                most_large=MOST_LARGE_THERAPISTS,
                **told,
            )
        )
    return rows
