"""A study's fitted outcomes: draws, designs and tables, from a sampler or from disk.

Runs without patients' rows: a design's cross-products on disk, and the design from them.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from alliance.data_prep.cell_moments import NOBODY
from alliance.data_prep.covariates import covariates_of, with_columns_told
from alliance.data_prep.errors import InputError, nearest
from alliance.data_prep.moments import Moments
from alliance.data_prep.study.description import Study, with_visits
from alliance.inference.draws.datatree import analysed_patients, draws_of, kept_moments
from alliance.inference.estimands.compared_at import require_place, standard_alliance
from alliance.inference.estimands.estimands import (
    prior_table,
    reported_draws,
    shared_estimands,
    shared_prior_table,
    summarise,
)
from alliance.inference.estimands.missing_outcomes import contrast_shifts, with_shifted_priors
from alliance.inference.estimands.over_time import (
    CORRELATION,
    correlation_estimands,
    over_visits,
    times_of,
    visit_positions,
    with_visit,
)
from alliance.inference.posterior import Posterior, Source, refuse_rows
from alliance.inference.sampling.profiles import Engine, SamplerProfile
from alliance.models.design.design import Design, build_design
from alliance.models.design.encoding import Encoding
from alliance.models.families.families import find_family
from alliance.models.families.family import Scale
from alliance.models.joint.joint import outcome_priors
from alliance.models.priors import Priors
from alliance.models.spec import JOINT, ModelSpec, over_time
from alliance.models.trials.design import TrialsDesign, trials_design
from alliance.models.visits.design import VisitsDesign, join_visits

# Packages whose version can move a draw or a digit of a table.
RECORDED_PACKAGES = (
    "alliance",
    "pymc",
    "pytensor",
    "nutpie",
    "numba",
    "llvmlite",
    "numpy",
    "scipy",
    "arviz",
    "arviz-stats",
    "xarray",
    "pandas",
    "statsmodels",
)


@dataclass(frozen=True, eq=False)
class Fit:
    """Posterior draws of a study's outcomes, and how they came about.

    Attributes
    ----------
    study : Study
    specs : dict of str to ModelSpec
        By outcome.
    trees : dict of str to xarray.DataTree
        By outcome; ArviZ groups at the root, parameters on the standardised scale.
    flow : pandas.DataFrame
        Flow counts of the outcomes.
    manifest : dict
        What was fitted, with what, when: plain values.
    differences : tuple of str
        For a run read back: what no longer matches (study, data, versions).
    changed : tuple of str
        Those of the differences that are somebody's change of study, data or files.
    shared : xarray.DataTree or None
        Of a joint model: what its outcomes share.
    tried : dict of str to tuple of str
        Of a run read back, by outcome: families that runs beside it fitted to the same data.
    """

    study: Study
    specs: dict[str, ModelSpec]
    trees: dict[str, xr.DataTree]
    flow: pd.DataFrame
    manifest: dict[str, Any]
    differences: tuple[str, ...] = field(default=())
    changed: tuple[str, ...] = field(default=())
    shared: xr.DataTree | None = None
    tried: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __getitem__(self, outcome: str) -> Posterior:
        """One fitted outcome.

        Raises
        ------
        InputError
            With the names there are.
        """
        if outcome not in self.trees:
            raise InputError(f"The run has no outcome {outcome!r}.", nearest(outcome, self.trees))
        if outcome not in self._posteriors:
            tree, rowless = self.trees[outcome], kept_moments(self.trees[outcome]) is not None
            patients = None if rowless else self.patients(outcome)
            self._posteriors[outcome] = Posterior(
                self.design(outcome),
                draws_of(tree),
                self.specs[outcome].priors,
                Source(
                    self.study,
                    self.specs[outcome],
                    patients,
                    self.manifest,
                    self.shared is not None or self.specs[outcome].visits is not None,
                    tuple(self.tried.get(outcome, ())),
                    self.trials(outcome),
                ),
            )
        return self._posteriors[outcome]

    def chosen(self, outcomes: Sequence[str] = (), visit: str | None = None) -> list[str]:
        """Those of the fitted outcomes that are named, in their order; all if none is.

        Parameters
        ----------
        outcomes : sequence of str
            An outcome over time stands for all its visits.
        visit : str, optional
            Of outcomes over time that are not named at a visit: this one of their visits, or
            ``last``; all by default, or with ``all``.

        Raises
        ------
        InputError
            If an outcome was not fitted, or no outcome over time has such a visit.
        """
        named = [self[outcome].name for outcome in with_visits(self.study, outcomes)]
        found = [name for name in self.outcomes if not named or name in named]
        if visit is None:
            return found
        described = self.study.outcomes
        labels = dict.fromkeys(own.visit for own in described.values() if own.visit is not None)
        if visit not in labels and visit not in (ALL_VISITS, LAST_VISIT):
            known = [*labels, *([ALL_VISITS, LAST_VISIT] if labels else [])]
            raise InputError(
                f"No outcome has a visit {visit!r}.",
                nearest(visit, known) if known else "The study has no outcomes over time.",
            )
        if visit not in labels and visit == ALL_VISITS:
            return found
        last = {own.visit_of: name for name, own in described.items()}
        return [
            name
            for name in found
            if described[name].visit_of is None
            or name in outcomes
            or (
                described[name].visit == visit
                if visit in labels
                else last[described[name].visit_of] == name
            )
        ]

    def posteriors(self) -> Iterator[Posterior]:
        """Every fitted outcome."""
        return map(self.__getitem__, self.outcomes)

    @cached_property
    def _posteriors(self) -> dict[str, Posterior]:
        return {}

    @cached_property
    def _designs(self) -> dict[str, Design]:
        return {}

    @cached_property
    def _trials(self) -> dict[str, TrialsDesign | None]:
        return {}

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Names of the fitted outcomes."""
        return tuple(self.specs)

    @property
    def profile(self) -> SamplerProfile:
        """The sampler's settings."""
        return SamplerProfile(**self.manifest["profile"])

    @property
    def engine(self) -> Engine:
        """Which engine was asked for; runs of before there was a choice are of NUTS."""
        return "instant" if self.manifest.get("engine") == "instant" else "nuts"

    @property
    def rowless(self) -> bool:
        """Whether the run was fitted from cross-products, without patients' rows."""
        return any(kept_moments(tree) is not None for tree in self.trees.values())

    def patients(self, outcome: str) -> xr.Dataset:
        """The outcome's analysed patients, by position, on their own scales.

        Raises
        ------
        InputError
            If the run was fitted from cross-products.
        """
        if kept_moments(self.trees[outcome]) is not None:
            raise refuse_rows()
        return with_columns_told(analysed_patients(self.trees[outcome]), self.study.covariates)

    def design(self, outcome: str) -> Design:
        """The outcome's design, built once from its patients, or from their cross-products."""
        if outcome not in self._designs:
            self._designs[outcome] = self._built(outcome)
        return self._designs[outcome]

    def _built(self, outcome: str) -> Design:
        design, labels = self._unlabelled(outcome), self.manifest.get(LABELS)
        if not labels:
            return design
        return replace(design, encoding=replace(design.encoding, labels=labels))

    def _unlabelled(self, outcome: str) -> Design:
        kept = kept_moments(self.trees[outcome])
        if kept is not None:
            return design_of_moments(kept, self.specs[outcome], self.study.covariates)
        limits = self.study.outcomes[outcome].range
        if self.specs[outcome].visits is not None:
            encoding = Encoding.from_dict(self.manifest[ENCODINGS][outcome])
            patients = self.patients(outcome)
            return build_design(patients, self.specs[outcome], limits, encoding=encoding)
        joint = self.manifest.get(JOINT)
        scale = None if joint is None else tuple(joint["moderator_scale"])
        return build_design(self.patients(outcome), self.specs[outcome], limits, scale)

    @property
    def several_trials(self) -> bool:
        """Whether the run is of several trials in one model."""
        return any(self.trials(name) is not None for name in self.outcomes)

    def trials(self, outcome: str) -> TrialsDesign | None:
        """The outcome's patients trial by trial; None where all are of one."""
        if outcome not in self._trials:
            kept, own = kept_moments(self.trees[outcome]), None
            if kept is not None and TRIAL_OF in kept:
                therapists, trials = (map(str, kept[k].values) for k in ("therapist", TRIAL_OF))
                by_therapist = dict(zip(therapists, trials, strict=True))
                own = trials_design(self.design(outcome), by_therapist, self.specs[outcome])
            self._trials[outcome] = own
        return self._trials[outcome]

    def linear_design(self, outcome: str) -> Design:
        """Design of the outcome's linear models: Gaussian, of the patients who lack no rating."""
        kept, spec = kept_moments(self.trees[outcome]), self.specs[outcome]
        if kept is None:
            return self[outcome].linear_design
        return design_of_moments(kept, spec.linear, self.study.covariates)

    def estimands(
        self,
        outcome: str,
        *,
        per_sd: bool = False,
        at: float | None = None,
        extrapolate: bool = False,
    ) -> xr.DataArray:
        """Draws of the outcome's reported quantities; see `inference.estimands.estimands`.

        With arm contrasts under the study's shifts of unseen outcomes, if there are any; see
        `inference.estimands.missing_outcomes`.

        Parameters
        ----------
        outcome : str
        per_sd, at, extrapolate
            As of `summary`.
        """
        require_place(self[outcome], at, extrapolate=extrapolate)
        return reported_draws(self[outcome], per_sd=per_sd, at=at)

    def priors(
        self, *, per_sd: bool = False, at: float | None = None, extrapolate: bool = False
    ) -> pd.DataFrame:
        """Priors of the reported quantities on the outcome's own scale, as normal distributions.

        See `inference.estimands.estimands.prior_table`. Arms are compared at the same alliance as
        in the summary, a mean over latent ratings being the posterior one.

        Parameters
        ----------
        per_sd, at, extrapolate
            As of `summary`.
        """
        for outcome in self.outcomes:
            require_place(self[outcome], at, extrapolate=extrapolate)
        own = {name: spec.priors for name, spec in self.specs.items()}
        if self.shared is not None:
            own = {name: outcome_priors(priors) for name, priors in own.items()}
        tables = [
            with_shifted_priors(
                self._prior_table(outcome, own[outcome], per_sd, at),
                contrast_shifts(self.study, self.manifest, outcome),
            )
            for outcome in self.outcomes
        ]
        if self.shared is not None:
            tables.append(shared_prior_table(next(iter(self.specs.values())).priors))
        return pd.concat(tables, ignore_index=True)

    def _prior_table(
        self, outcome: str, priors: Priors, per_sd: bool, at: float | None
    ) -> pd.DataFrame:
        alliance = float(standard_alliance(self[outcome], at).mean())
        own = self[outcome]
        return prior_table(own.design, priors, per_sd=per_sd, alliance=alliance, trials=own.trials)

    def summary(
        self,
        *,
        interval: float = 0.95,
        per_sd: bool = False,
        at: float | None = None,
        extrapolate: bool = False,
        over_visits: bool = True,
    ) -> pd.DataFrame:
        """The tidy table of all outcomes; see `inference.estimands.estimands.summarise`.

        Parameters
        ----------
        interval : float
            Probability of the equal-tailed intervals.
        per_sd : bool
            Moderator slopes and interactions for one SD of the moderator instead of one point.
        at : float, optional
            Value of the moderator, in its own points, at which arms are compared; by default its
            mean over the analysed patients, as the column ``at`` says.
        extrapolate : bool
            Allow a value outside the range observed among the analysed patients.
        over_visits : bool
            With what outcomes over time have beside their visits, under their own names.

        Raises
        ------
        InputError
            If `at` is not on the moderator's scale, or outside the observed range.
        """
        places: dict[str, Any] = {"at": at, "extrapolate": extrapolate}
        draws = {name: self.estimands(name, per_sd=per_sd, **places) for name in self.outcomes}
        tables = [summarise(name, own, interval=interval) for name, own in draws.items()]
        if visited := over_time(self.specs):
            tables = [
                with_visit(table, visit.visit if (visit := spec.visits) else "")
                for table, spec in zip(tables, self.specs.values(), strict=True)
            ]
            for name, visits in visited.items() if over_visits else ():
                tables += self._over_time(name, visits, draws, interval)
        if self.shared is not None:
            tables.append(
                summarise(JOINT, shared_estimands(draws_of(self.shared)), interval=interval)
            )
        return pd.concat(tables, ignore_index=True)

    def _over_time(
        self,
        outcome: str,
        visits: Sequence[str],
        draws: Mapping[str, xr.DataArray],
        interval: float,
    ) -> list[pd.DataFrame]:
        """Rows of the tidy table that no visit has by itself."""
        combined = over_visits([draws[name] for name in visits], times_of(self.specs, visits))
        found = [
            with_visit(
                summarise(outcome, combined, interval=interval), combined["visit"].values.tolist()
            )
        ]
        if any(CORRELATION in draws_of(self.trees[name]) for name in visits):
            labels = [str(self.study.outcomes[name].visit) for name in visits]
            arms = list(self.study.arms)
            nesting = self.specs[visits[0]].nesting(arms)
            own = correlation_estimands(
                [draws_of(self.trees[name]) for name in visits],
                labels,
                dict(zip(arms, nesting.groups, strict=True)) if nesting.number > 1 else None,
            )
            found.append(with_visit(summarise(outcome, own, interval=interval), ""))
        return found


def visits_facts(design: VisitsDesign) -> dict[str, Any]:
    """What a run keeps of an outcome over time beside its visits' own patients.

    Parameters
    ----------
    design : VisitsDesign

    Returns
    -------
    dict
        As `inference.estimands.over_time.visit_positions` reads it.
    """
    everybody = range(design.patients)
    return {
        "visits": list(design.designs),
        "patients": design.patients,
        "without": {
            name: sorted(set(everybody).difference(own.tolist()))
            for name, own in design.positions.items()
        },
    }


def visits_of(fit: Fit, outcome: str) -> VisitsDesign:
    """The design of an outcome over time, from the patients that a run keeps.

    Parameters
    ----------
    fit : Fit
    outcome : str
        The outcome over time.

    Returns
    -------
    VisitsDesign
    """
    positions = visit_positions(fit.manifest, outcome)
    return join_visits({name: fit.design(name) for name in positions}, positions, fit.specs)


def installed_versions() -> dict[str, str]:
    """Versions of Python and of the packages that can move a result."""
    packages = {name: version(name) for name in RECORDED_PACKAGES}
    return {"python": platform.python_version(), **packages}


ENCODINGS = "encodings"  # entry of a run's manifest: by outcome, `models.design.encoding.Encoding`
ALL_VISITS, LAST_VISIT = "all", "last"  # in the place of a visit's label
TRIAL_OF = "trial_of"  # of each therapist, where a run is of several trials
FACTS = "design"  # attribute that holds what is no array
ENCODING = "encoding"
LABELS = "labels"  # entry of the manifest: of levels, as the data file has them, by covariate


def moments_dataset(design: Design, trials: Mapping[str, str] | None = None) -> xr.Dataset:
    """What a design without rows is made of.

    Parameters
    ----------
    design : Design
        As from `models.design.design.moments_design`.
    trials : mapping of str to str, optional
        Of several trials, the trial of each therapist: variable ``trial_of`` (therapist).

    Returns
    -------
    xarray.Dataset
        ``cross_products`` (therapist, column, column_), ``count`` (therapist); where there are
        several residual groups with their dimension first. Patients without a therapist are under
        an empty id, the last. Names and scales as JSON in an attribute.
    """
    groups = design.nesting.coords(design.arms)
    products = np.array([each.cross_products for each in design.group_moments])
    count = np.array([each.count for each in design.group_moments])
    if not groups:
        products, count = products[0], count[0]
    nobody = [NOBODY] if design.nesting.without else []
    columns = [*design.coefficients, "outcome"]
    facts = {ENCODING: design.encoding.to_dict()}
    several = {}
    if trials:
        several[TRIAL_OF] = ("therapist", [trials[name] for name in design.therapists])
    return xr.Dataset(
        {
            "cross_products": (
                (*groups, "therapist", "column", "column_"),
                products,
            ),
            "count": ((*groups, "therapist"), count),
            **several,
        },
        coords={
            "therapist": [*design.therapists, *nobody],
            "column": columns,
            "column_": columns,
            **groups,
        },
        attrs={FACTS: json.dumps(facts)},
    )


def design_of_moments(kept: xr.Dataset, spec: ModelSpec, covariates: Sequence[str]) -> Design:
    """The design that `moments_dataset` was made of.

    Parameters
    ----------
    kept : xarray.Dataset
    spec : ModelSpec
    covariates : sequence of str
        The study's.
    """
    facts = json.loads(kept.attrs[FACTS])
    told = facts[ENCODING] if ENCODING in facts else _earlier(facts, spec, covariates)
    encoding = Encoding.from_dict(told)
    size = len(encoding.terms)
    arms = [encoding.coefficients[k] for k in encoding.places("arm")]
    nesting = spec.nesting(encoding.arms)
    shape = (nesting.number, kept.sizes["therapist"])
    products = np.array(kept["cross_products"].values).reshape(*shape, size + 1, size + 1)
    count = np.array(kept["count"].values, dtype=np.int64).reshape(shape)
    return Design(
        outcome=spec.outcome,
        encoding=encoding,
        X=np.empty((0, size)),
        y=np.empty(0),
        therapist_index=np.empty(0, dtype=np.int64),
        therapists=tuple(str(name) for name in kept["therapist"].values if str(name) != NOBODY),
        effects=(*spec.effects, *(arms if spec.therapist_by_arm else ())),
        family=find_family(spec.family),
        scale=Scale(*encoding.scaling.outcome, 0, 0.0, 1.0),
        moderator=spec.moderator,
        moderator_missing=np.empty(0, dtype=bool),
        count=np.empty(0),
        given=tuple(map(Moments, products, count)),
        nesting=nesting,
    )


def _earlier(
    facts: Mapping[str, Any], spec: ModelSpec, covariates: Sequence[str]
) -> dict[str, Any]:
    """What a run of before there was an encoding tells of it: all but the levels of reference."""
    names = facts["covariates"]
    data = xr.Dataset(coords={"covariate": np.array(names, dtype=str)})
    found = covariates_of(with_columns_told(data, covariates))
    return {
        "arms": facts["arms"],
        "interaction": spec.interaction,
        "has_baseline": facts["has_baseline"],
        "covariates": [
            {"name": each.name, "levels": each.levels, "reference": "" if each.levels else None}
            for each in found
        ],
        "absent": [],
        "scaling": {
            "outcome": facts["outcome"],
            "moderator": facts["moderator"],
            "baseline": facts["baseline"],
            "covariates": facts["covariate_scales"],
        },
        "observed": None,
    }
