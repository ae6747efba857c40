"""Simulation-based calibration: are posteriors as wide, and where, as they say?

Parameters are drawn from the priors, a trial's outcomes from the model for the patients at hand,
and the model is fitted to them. Over many such trials the rank of the true value among the
posterior's draws is uniform, for every quantity, if simulator, model and sampler agree (Talts et
al. 2018, arXiv:1804.06788).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats.base import array_stats
from arviz_stats.ecdf_utils import ecdf_pit
from numpy.typing import NDArray
from statsmodels.stats.multitest import multipletests

from data_prep.errors import InputError
from inference.datatree import posterior
from inference.engines import fit_outcome
from inference.estimands import estimand_draws
from inference.prior_predictive import prior_predictive
from inference.profiles import Engine, SamplerProfile, seed_sequence
from models.design import Design
from models.priors import Priors

Array = NDArray[np.float64]
Told = Callable[[int, int], None]

KEPT = 199  # draws that a true value is ranked among, thinned to be nearly independent
COVERAGES = (0.5, 0.9, 0.95)
ALARM = 0.01
"""Chance that a calibrated set of quantities fails: of their smallest p-value, after Holm."""

BAND = 0.95  # probability that calibrated shares stay within their band everywhere
SIMULATIONS = 1_000  # of uniform shares, for the band


@dataclass(frozen=True, eq=False, slots=True)
class Calibration:
    """Where the true values lie in the posteriors of t simulated trials.

    Attributes
    ----------
    outcome : str
    labels : tuple of (quantity, level)
        Of the m reported quantities.
    pit : ndarray, shape (t, m)
        Share of the posterior below the true value.
    z : ndarray, shape (t, m)
        Posterior mean less the true value, in posterior SDs.
    shrinkage : ndarray, shape (t, m)
        Posterior variance over that of the true values: what the data do not tell.
    """

    outcome: str
    labels: tuple[tuple[str, str], ...]
    pit: Array
    z: Array
    shrinkage: Array

    @property
    def p_values(self) -> Array:
        """Of uniform shares, for each quantity, shape (m,)."""
        return np.array([float(array_stats.uniformity_test(own)[0]) for own in self.pit.T])

    @property
    def adjusted(self) -> Array:
        """The same after Holm's correction for their number, shape (m,)."""
        return np.asarray(multipletests(self.p_values, method="holm")[1])

    @property
    def passed(self) -> bool:
        """Whether no quantity's shares are other than uniform."""
        return bool((self.adjusted >= ALARM).all())

    def table(self) -> pd.DataFrame:
        """One row for each quantity.

        Returns
        -------
        pandas.DataFrame
            Columns ``outcome, quantity, level, trials, p_value, p_adjusted, mean_pit, mean_z``, the
            coverage of central intervals ``covered_50, covered_90, covered_95``, and
            ``mean_shrinkage``.
        """
        inside = {
            f"covered_{100 * share:.0f}": (np.abs(self.pit - 0.5) <= share / 2).mean(axis=0)
            for share in COVERAGES
        }
        return pd.DataFrame(
            {
                "outcome": self.outcome,
                "quantity": [quantity for quantity, _ in self.labels],
                "level": [level for _, level in self.labels],
                "trials": len(self.pit),
                "p_value": self.p_values,
                "p_adjusted": self.adjusted,
                "mean_pit": self.pit.mean(axis=0),
                "mean_z": self.z.mean(axis=0),
                **inside,
                "mean_shrinkage": self.shrinkage.mean(axis=0),
            }
        )

    def curve(self, quantity: str, level: str = "") -> pd.DataFrame:
        """Share of trials at or below each share, with a simultaneous band of uniform ones.

        Parameters
        ----------
        quantity, level : str

        Returns
        -------
        pandas.DataFrame
            Columns ``pit, share, lower, upper``; the band as of Säilynoja, Bürkner & Vehtari 2022,
            doi:10.1007/s11222-022-10090-6.

        Raises
        ------
        InputError
            If there is no such quantity.
        """
        if (quantity, level) not in self.labels:
            names = ", ".join(" ".join(label).strip() for label in self.labels)
            raise InputError(f"No quantity {quantity!r} {level!r} was calibrated.", names)
        own = self.pit[:, self.labels.index((quantity, level))]
        points, share, lower, upper = ecdf_pit(own, BAND, SIMULATIONS)
        return pd.DataFrame({"pit": points, "share": share, "lower": lower, "upper": upper})


def simulated_trials(
    design: Design, priors: Priors, number: int, *, seed: int = 0
) -> Iterator[tuple[Design, xr.DataArray]]:
    """Trials from the priors, for the design's patients.

    Parameters
    ----------
    design : Design
        With every alliance observed; its outcome is not used.
    priors : Priors
    number : int
    seed : int

    Yields
    ------
    Design
        With another outcome.
    xarray.DataArray
        True values of the reported quantities, one chain of one draw.

    Raises
    ------
    InputError
        If the alliance has a model of its own, or the number is not above zero.
    """
    if number < 1:
        raise InputError(f"{number} simulated trials calibrate nothing.", "Ask for one or more.")
    if design.moderator.latent or design.moderator.structure == "within_between":
        raise InputError(
            f"{design.outcome}: trials are simulated for the ratings at hand, and an alliance with "
            "a model of its own would have to be simulated too.",
            "Calibrate it with the alliance as rated.",
        )
    found = prior_predictive(design, priors, draws=number, seed=seed)
    own = (found.scores - design.scale.offset) / design.scale.unit
    for k in range(number):
        trial = replace(found.design, y=own[k])
        yield trial, estimand_draws(trial, found.draws.isel(draw=[k]))


def calibrate(
    design: Design,
    priors: Priors,
    profile: SamplerProfile,
    *,
    trials: int,
    seed: int = 0,
    engine: Engine = "nuts",
    fitted: Priors | None = None,
    progress: Told | None = None,
) -> Calibration:
    """Simulate trials from the priors, fit each, and rank the true values.

    Parameters
    ----------
    design : Design
        Whose patients, arms, therapists and ratings are kept.
    priors : Priors
        That true values are drawn from.
    profile : SamplerProfile
        With at least `KEPT` draws in all.
    trials : int
    seed : int
        Each trial's own seeds follow from it and the trial's number.
    engine : {"nuts", "instant"}
    fitted : Priors, optional
        That the model is fitted with, the same by default; others are a planted fault.
    progress : callable, optional
        Called with the trials done and the trials to do.

    Returns
    -------
    Calibration

    Raises
    ------
    InputError
        As of `simulated_trials`, if the engine does not fit the design, or if there are too few
        draws.
    """
    if profile.chains * profile.draws < KEPT:
        raise InputError(
            f"{profile.chains} x {profile.draws} draws are fewer than {KEPT}.",
            "Calibrate with another profile.",
        )
    shares, scores, variances, truths = [], [], [], []
    labels: tuple[tuple[str, str], ...] = ()
    for k, (trial, truth) in enumerate(simulated_trials(design, priors, trials, seed=seed)):
        if progress is not None:
            progress(k, trials)
        stream = seed_sequence(seed, "sampling", f"{design.outcome}: trial", k)
        own = int(stream.generate_state(1)[0])
        tree, _ = fit_outcome(trial, fitted or priors, profile, own, engine=engine)
        draws = estimand_draws(trial, posterior(tree))
        pairs = zip(draws["quantity"].values, draws["level"].values, strict=True)
        labels = tuple((str(quantity), str(level)) for quantity, level in pairs)
        values = draws.transpose("chain", "draw", "estimand").values.reshape(-1, len(labels))
        true = truth.transpose("chain", "draw", "estimand").values.reshape(-1)
        shares.append(_share_below(values, true, np.random.default_rng(own)))
        sd = values.std(axis=0, ddof=1)
        scores.append((values.mean(axis=0) - true) / sd)
        variances.append(sd**2)
        truths.append(true)
    if progress is not None:
        progress(trials, trials)
    spread = np.var(truths, axis=0, ddof=1) if trials > 1 else np.full(len(labels), np.nan)
    return Calibration(
        outcome=design.outcome,
        labels=labels,
        pit=np.array(shares),
        z=np.array(scores),
        shrinkage=np.array(variances) / spread,
    )


def _share_below(values: Array, true: Array, generator: np.random.Generator) -> Array:
    """Rank of the true values among thinned draws, spread evenly over its own share."""
    kept = values[np.linspace(0, len(values) - 1, KEPT).round().astype(int)]
    rank = (kept < true).sum(axis=0)
    return np.asarray((rank + generator.random(len(true))) / (KEPT + 1))
