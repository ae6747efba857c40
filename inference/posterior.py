"""One fitted outcome: its design, its draws, its priors, and what its run knows beside them.

What is asked of a fitted outcome takes a `Posterior`: `fit["pain"]` gives that of a run. Draws that
belong to no run (simulated trials, priors) make one of a design and draws alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError
from alliance.data_prep.study.description import Study
from alliance.data_prep.study.parts import Outcome
from alliance.inference.draws.datatree import flat, patient_moderator
from alliance.inference.draws.summaries import column_blocks
from alliance.inference.sampling.profiles import Engine, SamplerProfile, seed_sequence
from alliance.models.design.design import Design, build_design
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec, ModeratorSpec, refuse_over_time
from alliance.models.trials.design import TrialsDesign

Array = NDArray[np.float64]
Index = NDArray[np.int64]


SPAN = 2.0  # SDs around the mean that stand for the observed range where no rows are kept


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """Patients on their own scales.

    Attributes
    ----------
    arm_index : ndarray of int, shape (r,)
        Position in the design's arms.
    moderator : ndarray, shape (r,)
        The alliance, in its own points.
    baseline : ndarray, shape (r,), or None
        None where the outcome has none.
    covariates : ndarray, shape (r, c)
        Columns as the design's covariates.
    """

    arm_index: Index
    moderator: Array
    baseline: Array | None
    covariates: Array

    def __len__(self) -> int:
        return len(self.arm_index)

    def chosen(self, some: slice | Index) -> Rows:
        """The patients at these positions."""
        baseline = None if self.baseline is None else self.baseline[some]
        return Rows(self.arm_index[some], self.moderator[some], baseline, self.covariates[some])

    def repeated(self, times: int, arm_index: Index) -> Rows:
        """Every patient so many times in a row, in these arms."""
        return replace(self.chosen(np.repeat(np.arange(len(self)), times)), arm_index=arm_index)

    def matrix(self, design: Design) -> Array:
        """Columns of a design's matrix (r, p), standardised as its analysed patients were."""
        return design.encoding.matrix(
            self.arm_index, self.moderator, self.baseline, self.covariates
        )

    def in_arm(self, arm: int) -> Rows:
        """The same patients, all imagined in one arm."""
        return replace(self, arm_index=np.full(len(self), arm))

    def at_moderator(self, value: float) -> Rows:
        """The same patients, all imagined with one alliance."""
        return replace(self, moderator=np.full(len(self), float(value)))


@dataclass(frozen=True, eq=False, slots=True)
class Source:
    """Where a fitted outcome comes from.

    Attributes
    ----------
    study : Study
    spec : ModelSpec
    patients : xarray.Dataset or None
        The analysed ones on their own scales; None for a run without patients' rows.
    manifest : mapping
        Of the run.
    joint : bool
        Whether the outcome is one of a joint model.
    tried : tuple of str
        Families that runs beside it fitted to this outcome of the same data.
    trials : TrialsDesign or None
        Of several trials in one model; the draws are then of an average trial.
    """

    study: Study
    spec: ModelSpec
    patients: xr.Dataset | None
    manifest: Mapping[str, Any]
    joint: bool = False
    tried: tuple[str, ...] = ()
    trials: TrialsDesign | None = None


@dataclass(frozen=True, eq=False)
class Posterior:
    """One fitted outcome.

    Attributes
    ----------
    design : Design
    draws : xarray.Dataset
        Parameters on the standardised scale, dims ``chain`` and ``draw`` first; d draws in all.
    priors : Priors
    source : Source, optional
        None for draws that belong to no run; what rests on it then raises a ValueError.
    """

    design: Design
    draws: xr.Dataset
    priors: Priors = field(default_factory=Priors)
    source: Source | None = None

    # Of the draws --------------------------------------------------------------------------------

    @property
    def total(self) -> int:
        """The number d of draws."""
        return self.shape[0] * self.shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        """Chains, and draws of each."""
        return self.draws.sizes["chain"], self.draws.sizes["draw"]

    def flat(self, name: str) -> Array:
        """Draws of one parameter with its own dims, chain after chain: shape (d, ...)."""
        return flat(self.draws, name)

    @cached_property
    def beta(self) -> Array:
        """Draws of the coefficients in the order of the design, shape (d, p).

        Zero where the model has none.
        """
        fitted, names = self.flat("beta"), self.design.coefficients
        found = np.zeros((len(fitted), len(names)))
        for k, name in enumerate(self.draws["coefficient"].values):
            found[:, names.index(str(name))] = fitted[:, k]
        return found

    def coefficient(self, name: str) -> Array:
        """Draws (d,) of one coefficient."""
        return self.beta[:, self.design.coefficients.index(name)]

    @cached_property
    def family_parameters(self) -> dict[str, Array]:
        """The family's own parameters, flat over chains: (d, 1), ordinal cutpoints (d, K - 1).

        Those that the priors fix, and no draws hold, are there too. Residual SDs of several groups
        of arms are (d, G): see `parameters_in`.
        """
        found = {}
        for parameter in self.design.family.parameters:
            if parameter.name in self.draws:
                found[parameter.name] = self.flat(parameter.name).reshape(self.total, -1)
            elif parameter.name in self.design.fixed:
                value = self.design.fixed[parameter.name]
                found[parameter.name] = np.full((self.total, 1), value)
        return found

    def parameters_in(self, arm_index: Index) -> dict[str, Array]:
        """The family's own parameters of patients in these arms.

        Parameters
        ----------
        arm_index : ndarray of int, shape (r,)

        Returns
        -------
        dict of str to ndarray
            As `family_parameters`, with residual SDs that differ between arms as (d, r).
        """
        nesting = self.design.nesting
        if nesting.number == 1:
            return self.family_parameters
        own = self.family_parameters["residual_sd"][:, nesting.group_of(arm_index)]
        return self.family_parameters | {"residual_sd": own}

    def alliance(self) -> Array:
        """The analysed patients' standardised alliance: (1, n), or (d, n) where it is latent."""
        return patient_moderator(self.design, self.draws)

    def part(self, draws: xr.Dataset) -> Posterior:
        """The same outcome with other draws, as a part of them."""
        return replace(self, draws=draws)

    def blocks(
        self, numbers_each: int, numbers: int | None = None
    ) -> Iterator[tuple[int, slice, Posterior]]:
        """Position of the chain, positions in it, and that part of the draws, block after block.

        Parameters
        ----------
        numbers_each : int
            Numbers that are held at a time for each draw.
        numbers : int, optional
            Numbers that are held at a time; as many as memory holds by default.
        """
        chains, draws = self.shape
        for chain in range(chains):
            for some in column_blocks((1, draws), numbers_each, numbers):
                yield chain, some, self.part(self.draws.isel(chain=[chain], draw=some))

    # Of the run ----------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The outcome's name."""
        return self.design.outcome

    @property
    def study(self) -> Study:
        """The study that the outcome is one of."""
        return self._source.study

    @property
    def outcome(self) -> Outcome:
        """How the study describes the outcome."""
        return self.study.outcomes[self.name]

    @property
    def direction(self) -> int:
        """1 where a higher score is better, -1 where a lower one is."""
        return 1 if self.outcome.better == "higher" else -1

    @property
    def joint(self) -> bool:
        """Whether the outcome is one of a joint model, or a visit of an outcome over time.

        Draws that belong to no run are not.
        """
        return self.source is not None and self.source.joint

    @property
    def over_time(self) -> bool:
        """Whether the outcome is a visit of an outcome over time."""
        return self.source is not None and self.source.spec.visits is not None

    def refuse_over_time(self, what: str) -> None:
        """Refuse what a visit of an outcome over time does not have.

        Parameters
        ----------
        what : str
            That is not available, at the beginning of a sentence.

        Raises
        ------
        InputError
        """
        if self.over_time:
            refuse_over_time([self.name], what)

    @property
    def trials(self) -> TrialsDesign | None:
        """Of several trials in one model, the patients trial by trial."""
        return None if self.source is None else self.source.trials

    @property
    def manifest(self) -> Mapping[str, Any]:
        """The run's: what was fitted, with what, when."""
        return self._source.manifest

    @property
    def seed(self) -> int:
        """The run's."""
        return int(self.manifest["seed"])

    @property
    def profile(self) -> SamplerProfile:
        """The sampler's settings."""
        return SamplerProfile(**self.manifest["profile"])

    @property
    def engine(self) -> Engine:
        """Which engine was asked for; runs of before there was a choice are of NUTS."""
        return "instant" if self.manifest.get("engine") == "instant" else "nuts"

    def generator(self, phase: str, seed: int | None = None, chain: int = 0) -> np.random.Generator:
        """Random numbers for one kind of question, the same from run to run.

        Parameters
        ----------
        phase : str
            Names the stream: see `inference.sampling.profiles.seed_sequence`.
        seed : int, optional
            In place of the run's.
        chain : int
        """
        started = self.seed if seed is None else seed
        return np.random.default_rng(seed_sequence(started, phase, self.name, chain))

    @property
    def patients(self) -> xr.Dataset:
        """The analysed patients, by position, on their own scales.

        Raises
        ------
        InputError
            If the run was fitted from cross-products.
        """
        if self._source.patients is None:
            raise refuse_rows()
        return self._source.patients

    @cached_property
    def rows(self) -> Rows:
        """The analysed patients: own arm, alliance (NaN where missing), baseline and covariates.

        Of draws that belong to no run, as the design has them.
        """
        if self.source is None:
            return rows_of_design(self.design)
        patients = self.patients
        baseline = np.asarray(patients["baseline"].values) if "baseline" in patients else None
        return Rows(
            arm_index=patients["arm_index"].values.astype(np.int64),
            moderator=np.asarray(patients["moderator"].values, dtype=float),
            baseline=baseline,
            covariates=np.asarray(patients["covariates"].values, dtype=float),
        )

    @cached_property
    def averaged_over(self) -> Rows:
        """Patients whose expected scores are averaged: the analysed ones.

        Of a run without rows one patient at their means, who has their average: such a run's
        outcome is Gaussian, and its expected score a straight line of what a patient is.
        """
        if self.source is None or not self.rowless:
            return self.rows
        design = self.design
        sums = design.moments.cross_products[:, 0].sum(axis=0)
        means = sums / sums[0]  # standardised; zero but for one of several trials

        def own(places: list[int], scales: Sequence[tuple[float, float]]) -> Array:
            found = [centre + sd * means[k] for k, (centre, sd) in zip(places, scales, strict=True)]
            return np.array(found, dtype=float)

        places, scaling = design.encoding.places, design.scaling
        rating = own(places("moderator")[:1], [scaling.moderator])
        return Rows(
            arm_index=np.zeros(1, dtype=np.int64),
            moderator=rating if design.has_moderator else np.full(1, np.nan),
            baseline=own(places("baseline"), [scaling.baseline]) if design.has_baseline else None,
            covariates=own(places("covariate"), scaling.covariates).reshape(1, -1),
        )

    @property
    def analysed(self) -> int:
        """The number of analysed patients."""
        return int(self.design.moments.n) if self.rowless else len(self.rows)

    @property
    def observed_alliance(self) -> tuple[float, float]:
        """Lowest and highest alliance that an analysed patient was rated with.

        Of a run without rows, which does not know them, two SDs around the mean, within the scale.

        Raises
        ------
        InputError
            If the study has no moderator.
        """
        if self.source is not None:
            low, high = self.study.measure.range  # refused without one
            if self.rowless:
                mean, sd = self.design.scaling.moderator
                return max(low, mean - SPAN * sd), min(high, mean + SPAN * sd)
        ratings = self.rows.moderator
        return float(np.nanmin(ratings)), float(np.nanmax(ratings))

    @cached_property
    def scores(self) -> Array:
        """The analysed patients' scores on the outcome's own scale, shape (n,)."""
        return np.asarray(self.patients["outcome"].values, dtype=float)

    @cached_property
    def linear_design(self) -> Design:
        """Design of the outcome's linear models: Gaussian, of the patients who lack no rating."""
        patients = self.patients.isel(patient=self.lacking_no_rating)
        return build_design(patients, self._source.spec.linear)

    @property
    def lacking_no_rating(self) -> Index:
        """Positions of the analysed patients who have a rating, or whose arm has none."""
        rated = np.isfinite(self.rows.moderator)
        return np.flatnonzero(rated | ~self.design.can_have_moderator)

    @property
    def rated_design(self) -> Design:
        """As `linear_design`, of the patients with a rating alone, and of their arms.

        Without arm by moderator interaction where one arm alone has the moderator.
        """
        moderated = list(self.design.encoding.moderated)
        rated = np.flatnonzero(np.isfinite(self.rows.moderator))
        own = self.patients.isel(patient=rated, arm=moderated)
        place = np.searchsorted(moderated, own["arm_index"].values)
        own = own.assign(arm_index=("patient", place))
        linear = self._source.spec.linear
        kept = set(map(str, own["arm"].values))
        without = tuple(arm for arm in linear.without_therapist if arm in kept)
        linear = replace(linear, moderator=ModeratorSpec(), without_therapist=without)
        return build_design(own, linear)

    @property
    def rowless(self) -> bool:
        """Whether the run was fitted from cross-products, without patients' rows."""
        return self._source.patients is None

    @property
    def _source(self) -> Source:
        if self.source is None:
            raise ValueError(f"these draws of {self.name} belong to no run")
        return self.source


def rows_of_design(design: Design) -> Rows:
    """A design's patients on their own scales."""
    encoding, scaling = design.encoding, design.scaling
    (mean, sd), before = scaling.moderator, scaling.baseline
    own = [design.X[:, place] for place in encoding.places("covariate")]
    covariates = [
        centre + unit * values
        for (centre, unit), values in zip(scaling.covariates, own, strict=True)
    ]
    ratings = mean + sd * design.X[:, encoding.places("moderator")[0]]
    (baseline,) = (design.X[:, place] for place in encoding.places("baseline"))
    return Rows(
        arm_index=design.arm_index,
        moderator=np.where(design.moderator_missing | ~design.can_have_moderator, np.nan, ratings),
        baseline=before[0] + before[1] * baseline if design.has_baseline else None,
        covariates=np.column_stack([np.empty((len(design.X), 0)), *covariates]),
    )


def refuse_rows() -> InputError:
    """What to say where patients' rows are needed."""
    return InputError(
        "This run was fitted from cross-products: it holds no patients' rows, which this needs.",
        "Of files fit one, or the rows of some therapists, `sample_therapists=200`; of shares ask "
        "whoever sent them, who has the rows.",
    )
