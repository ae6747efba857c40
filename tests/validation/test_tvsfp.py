"""Ordinal outcomes on the school smoking prevention trial (Flay 1988; Hedeker & Gibbons).

Its knowledge scale has four ordered categories. Two programmes, a curriculum (cc) and television
(tv), make four arms; the school stands as therapist and the knowledge before as moderator. The
reference results are those that the R package mixor prints, as `DATA.md` beside the file gives
them. Its last two "thresholds" are steps from the first, which mixor writes as minus the intercept:
the maximum of the likelihood, found here by quadrature, has exactly these numbers, and cumulative
thresholds of -0.088, 1.153 and 2.332.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import arviz_stats as azs
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.typing import NDArray
from scipy import optimize, special
from statsmodels.miscmodels.ordinal_model import OrderedModel

from alliance.data_prep.study.description import Study
from alliance.data_prep.trial.trial import Trial, trial_from_frame
from alliance.inference.draws.datatree import draws_of
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.inference.sampling.sampling import sample_outcome
from alliance.models.design.design import Design, build_design
from alliance.models.design.encoding import sum_to_zero_basis
from alliance.models.families.families import FAMILIES
from alliance.models.families.family import ARRAYS
from alliance.models.priors import Priors
from alliance.models.spec import specify

Array = NDArray[np.float64]

PROFILE = SamplerProfile("standard", chains=4, draws=1000, tune=1000)
# So wide that they say next to nothing, on the scale of one SD of the latent variable
WIDE = {"arm": 5.0, "moderator_slope": 5.0, "therapist_sd": 1.0}

STUDY = Study.model_validate(
    {
        "title": "Television school and family smoking prevention project",
        "columns": {"patient": "pupil", "therapist": "school", "arm": "arm"},
        "arms": {"00": "neither", "10": "curriculum", "01": "television", "11": "both"},
        "moderator": {
            "name": "knowledge",
            "label": "Knowledge before",
            "column": "thkspre",
            "range": (0, 7),
        },
        "outcomes": {
            "knowledge": {
                "label": "Knowledge after, in four categories",
                "followup": "thksord",
                "range": (1, 4),
                "better": "higher",
                "family": "ordinal",
            }
        },
        "model": {"therapist": "intercept", "interaction": False, "likelihood": "native"},
        "priors": WIDE,
    }
)
# mixor, with a school intercept: estimate and standard error
PRINTED = {
    "thkspre": (0.403, 0.043),
    "cc": (0.924, 0.371),
    "tv": (0.275, 0.315),
    "cc x tv": (-0.466, 0.406),
}
# Printed without standard errors; the second and third less the first
PRINTED_THRESHOLDS = {"threshold 1": -0.088, "step to 2": 1.240, "step to 3": 2.418}
PRINTED_VARIANCE = 0.0735


@pytest.fixture(scope="module")
def trial(shared_data: Path) -> Trial:
    frame = pd.read_csv(shared_data / "tvsfp_smoking_prevention.csv")
    frame["arm"] = frame["cc"].astype(str) + frame["tv"].astype(str)
    frame["school"] = frame["school"].astype(str)
    frame["pupil"] = np.arange(len(frame))
    return trial_from_frame(STUDY, frame)


@pytest.fixture(scope="module")
def design(trial: Trial) -> Design:
    (spec,) = specify(STUDY).values()
    return build_design(trial.analysed("knowledge"), spec, STUDY.outcomes["knowledge"].range)


@dataclass(frozen=True)
class Transform:
    """From our parameters to those of the raw columns cc, tv, their product, and thkspre."""

    design: Design

    def to_raw(self, beta: xr.DataArray, cutpoint: xr.DataArray) -> xr.Dataset:
        """Undo the standardisation, the link's unit and the effects that sum to zero.

        Ours is ``P(y <= k) = expit(cutpoint_k - link_unit * (arm + b * (x - mean) / sd))``. With
        the arm 00 for reference and x from zero the thresholds move by what stood in the rest.
        """
        unit, (mean, sd) = self.design.scale.link_unit, self.design.scaling.moderator
        basis = sum_to_zero_basis(4)
        on_basis = [beta.sel(coefficient=f"arm[{k}]") for k in (1, 2, 3)]
        arm = {
            code: unit * sum(basis[position, k] * on_basis[k] for k in range(3))
            for position, code in enumerate(self.design.arms)
        }
        slope = unit * beta.sel(coefficient="moderator") / sd
        found = {
            "thkspre": slope,
            "cc": arm["10"] - arm["00"],
            "tv": arm["01"] - arm["00"],
            "cc x tv": arm["11"] - arm["10"] - arm["01"] + arm["00"],
        }
        first = cutpoint.isel(threshold=0)
        found["threshold 1"] = first - arm["00"] + slope * mean
        for k in (1, 2):
            found[f"step to {k + 1}"] = cutpoint.isel(threshold=k) - first
        labels = ("coefficient", "threshold")
        return xr.Dataset(
            {name: values.drop_vars(labels, errors="ignore") for name, values in found.items()}
        )


def sampled(design: Design) -> xr.Dataset:
    """Draws of the raw parameters, and of the variance between schools where they vary."""
    tree, _ = sample_outcome(design, Priors(**WIDE), PROFILE, seed=1988)
    assert tree["sample_stats"]["diverging"].mean() <= 0.001
    draws = draws_of(tree)
    found = Transform(design).to_raw(draws["beta"], draws["cutpoint"])
    if "therapist_sd" in draws:
        found["school variance"] = (design.scale.link_unit * draws["therapist_sd"]) ** 2
    return found


@pytest.mark.validation
def test_with_a_school_intercept_as_mixor_prints_it(design: Design) -> None:
    """Within 0.35 printed standard errors; thresholds, printed without, in our posterior SDs.

    The variance between schools, printed without one too, lies within one posterior SD.
    """
    draws = sampled(design)
    dims = ("chain", "draw")
    table = pd.DataFrame(
        {
            "mean": {name: float(values.mean(dims)) for name, values in draws.items()},
            "sd": {name: float(values.std(dims)) for name, values in draws.items()},
        }
    )
    printed = {name: value for name, (value, _) in PRINTED.items()} | PRINTED_THRESHOLDS
    table["printed"] = pd.Series(printed | {"school variance": PRINTED_VARIANCE})
    table["se"] = pd.Series({name: se for name, (_, se) in PRINTED.items()})
    table["distance"] = (table["mean"] - table["printed"]) / table["se"].fillna(table["sd"])
    variance = draws["school variance"]
    print(f"\n{table.round(4).to_string()}")
    print("school variance, median", round(float(variance.median()), 4))
    ess = azs.ess(draws)
    assert min(float(values) for values in ess.values()) > 400
    assert table["distance"].drop("school variance").abs().max() < 0.35
    assert abs(table.loc["school variance", "distance"]) < 1


QUADRATURE_POINTS = 40


def test_maximum_of_the_likelihood_is_what_mixor_prints(trial: Trial) -> None:
    """The family's formula, with the schools integrated out by Gauss-Hermite quadrature.

    Every printed digit of the coefficients, and 0.003 of the steps: mixor takes fewer points.
    """
    analysed = trial.analysed("knowledge")
    columns = raw_columns(analysed).to_numpy()
    scores = analysed["outcome"].values - 1
    belongs = np.eye(analysed.sizes["therapist"])[analysed["therapist_index"].values]
    points, weights = np.polynomial.hermite_e.hermegauss(QUADRATURE_POINTS)
    log_weights = np.log(weights / weights.sum())[:, None]
    scale = FAMILIES["ordinal"].scale(scores + 1, (1, 4))

    def parts(values: Array) -> tuple[Array, Array, float]:
        steps = np.cumsum(np.append(0, np.exp(values[5:7])))
        return values[:4], values[4] + steps, float(np.exp(values[7]))

    def minus_log_likelihood(values: Array) -> float:
        beta, cutpoint, sd = parts(values)
        eta = columns @ beta + sd * points[:, None]
        pointwise = FAMILIES["ordinal"].log_likelihood(
            ARRAYS, scores, eta, {"cutpoint": np.tile(cutpoint, (len(points), 1))}, scale
        )
        return float(-special.logsumexp(pointwise @ belongs + log_weights, axis=0).sum())

    start = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0])
    found = optimize.minimize(minus_log_likelihood, start, method="BFGS")
    beta, cutpoint, sd = parts(found.x)
    assert beta.round(3).tolist() == [value for value, _ in PRINTED.values()]
    assert round(sd**2, 4) == PRINTED_VARIANCE
    steps = [cutpoint[0], *(cutpoint[1:] - cutpoint[0])]
    np.testing.assert_allclose(steps, list(PRINTED_THRESHOLDS.values()), atol=0.003)
    np.testing.assert_allclose(cutpoint, [-0.088, 1.153, 2.332], atol=0.001)


@pytest.fixture(scope="module")
def without_schools(trial: Trial) -> Design:
    (spec,) = specify(STUDY).values()
    spec = replace(spec, therapist="none")
    return build_design(trial.analysed("knowledge"), spec, STUDY.outcomes["knowledge"].range)


def raw_columns(analysed: xr.Dataset) -> pd.DataFrame:
    codes = analysed["arm"].values[analysed["arm_index"].values]
    cc, tv = (np.array([int(code[k]) for code in codes]) for k in (0, 1))
    columns = {"thkspre": analysed["moderator"].values, "cc": cc, "tv": tv, "cc x tv": cc * tv}
    return pd.DataFrame(columns).astype(float)


@pytest.fixture(scope="module")
def ordered(trial: Trial) -> OrderedModel:
    analysed = trial.analysed("knowledge")
    outcome = pd.Series(pd.Categorical(analysed["outcome"].values.astype(int), ordered=True))
    return OrderedModel(outcome, raw_columns(analysed), distr="logit")


def test_likelihood_is_that_of_statsmodels(without_schools: Design, ordered: OrderedModel) -> None:
    """At any parameters, without school effects."""
    random = np.random.default_rng(5)
    design = without_schools
    transform = Transform(design)
    for _ in range(5):
        names = list(design.coefficients)
        beta = xr.DataArray(0.3 * random.normal(size=len(names)), {"coefficient": names})
        cutpoint = xr.DataArray(np.sort(random.normal(size=3)), dims="threshold")
        raw = transform.to_raw(beta, cutpoint)
        values = [float(raw[name]) for name in (*PRINTED, *PRINTED_THRESHOLDS)]
        # statsmodels takes the first threshold, and logarithms of the steps from one to the next.
        values[5:] = np.log(np.diff([0.0, *values[5:]]))
        columns = [k for k, name in enumerate(names) if name != "intercept"]
        eta = design.scale.link_unit * design.X[:, columns] @ beta.values[columns]
        ours = design.family.log_likelihood(
            ARRAYS, design.y, eta[None], {"cutpoint": cutpoint.values[None]}, design.scale
        )
        np.testing.assert_allclose(ours.sum(), ordered.loglike(np.array(values)), rtol=1e-10)


@pytest.mark.mcmc
def test_posterior_without_schools_is_the_maximum_of_statsmodels(
    without_schools: Design, ordered: OrderedModel
) -> None:
    """1,600 pupils and wide priors: means and SDs are estimates and standard errors.

    Apart from Monte Carlo error there is room for what priors and skewness do: 0.06 standard
    errors of a mean, 5% of an SD.
    """
    draws = sampled(without_schools)
    fitted = ordered.fit(method="bfgs", disp=False)
    steps = np.exp(fitted.params.to_numpy()[5:])
    estimates = [*fitted.params[:5], steps[0], steps[0] + steps[1]]
    # Errors of the steps from the first threshold, from those of the logarithms
    jacobian = np.eye(7)
    jacobian[5:, 5:] = [[steps[0], 0], [steps[0], steps[1]]]
    errors = np.sqrt(np.diag(jacobian @ fitted.cov_params().to_numpy() @ jacobian.T))
    mcse, mcse_sd = azs.mcse(draws), azs.mcse(draws, method="sd")
    for name, estimate, error in zip(draws, estimates, errors, strict=True):
        mean, sd = (
            float(getattr(draws[name], moment)(("chain", "draw"))) for moment in ("mean", "std")
        )
        print(f"{name}: {mean:.4f} ({sd:.4f}), statsmodels {estimate:.4f} ({error:.4f})")
        assert abs(mean - estimate) < 4 * float(mcse[name]) + 0.06 * error, name
        assert abs(sd - error) < 4 * float(mcse_sd[name]) + 0.05 * error, name
