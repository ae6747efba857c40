"""Printed numbers alone: what follows from them agrees with closed forms and with simulation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from alliance.data_prep.errors import InputError
from alliance.inference.paper.consistency import CONSISTENT, IMPOSSIBLE, UNTOLD
from alliance.inference.paper.credibility import (
    conflict,
    credible_p,
    normal,
    posterior,
    sceptical_limit,
)
from alliance.inference.paper.curves import Normals
from alliance.inference.paper.ignored_therapists import Clustering
from alliance.inference.paper.meta_analysis import half_normal, meta_analysis
from alliance.inference.paper.paper import Asked, Paper, field_shares
from alliance.inference.paper.printed import Estimate, read_printed

HEAD = """
[[finding]]
outcome = "pain"
quantity = "arm_contrast"
level = "B-A"
claim = "number"
known_by = "assumed"
source = "made for this test"
"""
STUDY = """
title = "A trial"
[columns]
patient = "p"
therapist = "t"
arm = "a"
[arms]
A = "Usual care"
B = "Exercise"
C = "Surgery"
[moderator]
label = "Alliance"
column = "wai"
range = [16, 112]
[outcomes.pain]
label = "Pain"
followup = "y"
range = [0, 10]
better = "lower"
"""


def written(folder: Path, *findings: str, study: str | None = STUDY) -> Path:
    """A file of findings, each with the head above; with a study beside it."""
    path = folder / "published.toml"
    path.write_text("".join(HEAD + each + "\n" for each in findings), encoding="utf-8")
    if study is not None:
        (folder / "study.toml").write_text(study, encoding="utf-8")
    return path


def verdicts(folder: Path, *findings: str, study: str | None = STUDY) -> dict[str, str]:
    """The verdict of each check of the first finding."""
    table = Paper(read_printed(written(folder, *findings, study=study))).consistency
    own = table[table["finding"] == 1]
    return dict(zip(own["check"], own["verdict"], strict=True))


# Consistency ------------------------------------------------------------------------------------

SYMMETRY, ERROR, P = (
    "estimate in the middle of its interval",
    "interval and standard error",
    "p value",
)
PATIENTS, CLOSED, UNITS = "patients and standard error", "three contrasts add up", "units"
# Each with one planted error, and the check that must find it; all other checks must not.
PLANTED: dict[str, tuple[tuple[str, ...], str]] = {
    "an odds ratio beside the geometric middle of its interval": (
        ('scale = "ratio"\nestimate = 1.26\nlower = 1.04\nupper = 1.39',),
        SYMMETRY,
    ),
    "an adjusted interval about a raw difference": (
        ("estimate = -1.9\nlower = -2.2\nupper = -0.4",),
        SYMMETRY,
    ),
    "a standard error that is half the interval": (
        ("estimate = -1.0\nlower = -2.0\nupper = 0.0\nse = 1.0\nn = 200",),
        ERROR,
    ),
    "a 90% interval that is called 95%": (
        # half-width 1.645 * 0.50; the printed error is 0.50
        ("estimate = -1.00\nlower = -1.82\nupper = -0.18\nse = 0.50",),
        ERROR,
    ),
    "a standard deviation that is called a standard error": (
        ("estimate = -1.0\nlower = -1.6\nupper = -0.4\nse = 2.4\nn = 250",),
        ERROR,
    ),
    "significant by p, with an interval that holds zero": (
        ("estimate = -1.0\nlower = -2.1\nupper = 0.1\np = 0.02\nn = 90",),
        P,
    ),
    "p of one side": (
        # z = 1.7: two-sided 0.089, one-sided 0.045
        ("estimate = -1.70\nse = 1.00\np = 0.045\nn = 400",),
        P,
    ),
    "p below a bound that estimate and error do not reach": (
        ("estimate = -1.0\nse = 0.5\np_below = 0.01\nn = 300",),
        P,
    ),
    "a t of another estimate": (("estimate = -1.00\nse = 0.50\nt = -3.1\ndf = 80",), "t"),
    "a t of the other sign": (("estimate = 1.00\nse = 0.50\nt = -2.0\ndf = 80",), "t"),
    "a p of another t": (("estimate = -1.0\nt = -2.10\ndf = 80\np = 0.005",), P),
    "more degrees of freedom than patients": (
        ("estimate = -1.0\nse = 0.5\nn = 60\ndf = 118",),
        "degrees of freedom and patients",
    ),
    "fewer patients than the standard error needs": (
        # SD 2.0 with 20 and 20 patients gives 0.63, and not 0.20
        ("estimate = -1.0\nse = 0.20\nsd = 2.0\nn = { B = 20, A = 20 }",),
        PATIENTS,
    ),
    "an SD larger than the scale allows": (
        # 2.0 / sqrt(1/50 + 1/50) = 10 on a scale of 0 to 10, where an SD is at most 5.05
        ("estimate = -1.0\nse = 2.0\nn = { B = 50, A = 50 }",),
        PATIENTS,
    ),
    "three contrasts that do not add up": (
        (
            "estimate = -1.0",
            'level = "C-A"\nestimate = -2.0',
            'level = "C-B"\nestimate = -0.4',
        ),
        CLOSED,
    ),
    "two units of one outcome": (
        ('estimate = -1.0\nunit = "points"', 'estimate = -10.0\nunit = "mm"\ntrial = "other"'),
        UNITS,
    ),
    "a difference larger than the scale": (("estimate = -12.0",), "difference within the scale"),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_error_is_found_and_none_beside_it(planted: str, tmp_path: Path) -> None:
    findings, check = PLANTED[planted]
    if check == CLOSED:  # keys of the head may not stand twice
        (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
        heads = [HEAD, HEAD.replace('level = "B-A"\n', ""), HEAD.replace('level = "B-A"\n', "")]
        text = "".join(f"{head}{each}\n" for head, each in zip(heads, findings, strict=True))
        (tmp_path / "published.toml").write_text(text, encoding="utf-8")
        table = Paper(read_printed(tmp_path)).consistency
        own = table[table["finding"] == 1]
        found = dict(zip(own["check"], own["verdict"], strict=True))
    else:
        found = verdicts(tmp_path, *findings)
    assert found[check] == IMPOSSIBLE
    assert {name for name, verdict in found.items() if verdict == IMPOSSIBLE} == {check}


def test_rounding_is_respected_in_2000_printed_tables() -> None:
    """Estimate, interval, SE, t and p of a true analysis, rounded in many ways: nothing found."""
    from alliance.inference.paper.consistency import _checks
    from alliance.inference.paper.printed import Printed
    from alliance.inference.published.findings import Finding, PrintedNumber

    rng = np.random.default_rng(5)
    for _ in range(2000):
        n = rng.integers(8, 120, 2)
        df = float(n.sum() - 2)
        sd, effect = rng.uniform(0.5, 20), rng.normal(0, 3)
        se = sd * math.sqrt(1 / n[0] + 1 / n[1])
        half = (stats.t.ppf(0.975, df) if rng.random() < 0.7 else 1.959964) * se
        p = 2 * stats.t.sf(abs(effect) / se, df)
        places = int(rng.integers(0, 4))

        def rounded(value: float, decimals: int) -> float:
            return PrintedNumber(f"{value:.{decimals}f}")

        given: dict[str, Any] = {
            "estimate": rounded(effect, places),
            "lower": rounded(effect - half, places),
            "upper": rounded(effect + half, places),
            "n": {"B": int(n[0]), "A": int(n[1])},
        }
        error = rounded(se, places + 1)
        if error > 0 and rng.random() < 0.6:
            given |= {"se": error, "t": rounded(effect / se, 2)}
        if rng.random() < 0.7:
            given["p"] = rounded(p, 3)
        spread = rounded(sd, places + 1)
        if rng.random() < 0.5 and spread > 0:
            given["sd"] = spread
        if not given["lower"] <= given["estimate"] <= given["upper"]:
            continue
        finding = Finding(
            outcome="y",
            quantity="arm_contrast",
            level="B-A",
            claim="number",
            known_by="assumed",
            source="simulated",
            **given,
        )
        for check in _checks(Printed("f", "f", (finding,)), finding):
            assert check.verdict != IMPOSSIBLE, (given, check)


def test_what_hangs_on_degrees_of_freedom_that_are_not_printed_is_not_told(tmp_path: Path) -> None:
    # 2.23 standard errors are t with 10 degrees of freedom: possible, and not told
    few = "estimate = -1.0\nlower = -3.23\nupper = 1.23\nse = 1.00"
    assert verdicts(tmp_path, few)[ERROR] == UNTOLD
    assert verdicts(tmp_path, few + "\ndf = 10")[ERROR] == CONSISTENT
    assert verdicts(tmp_path, few + "\nn = 500")[ERROR] == IMPOSSIBLE


def test_the_two_papers_of_the_bundled_studies_are_consistent() -> None:
    for name in ("ferreira2013", "headache"):
        table = Paper(read_printed(name)).consistency
        assert set(table["verdict"]) == {CONSISTENT, UNTOLD}
        assert (table["check"] == SYMMETRY).sum() == (4 if name == "ferreira2013" else 2)


# Posteriors and the sceptical limit --------------------------------------------------------------


def test_the_headache_trials_reference_posterior_is_the_printed_interval() -> None:
    """Printed 4.6 (2.2, 7.0) in favour; better is lower. The rows give -4.6 (-7.0, -2.2)."""
    table = Paper(read_printed("headache")).posteriors
    row = table[(table["finding"] == 1) & (table["prior"] == "reference")].iloc[0]
    assert [row["mean"], row["lower"], row["upper"]] == pytest.approx([-4.6, -7.0, -2.2], abs=1e-6)
    assert row["prob_benefit"] == pytest.approx(
        stats.norm.cdf(4.6 / (4.8 / 2 / 1.959964)), abs=1e-6
    )


@pytest.mark.parametrize("df", [math.inf, 3.0, 12.0, 60.0])
def test_posteriors_agree_with_integration(df: float) -> None:
    """A mixture prior times a normal or t likelihood, against adaptive quadrature."""
    estimate = Estimate(2.0, 0.9, df, "")
    prior = Normals(np.array([0.8, 0.2]), np.array([0.3, -1.0]), np.array([0.5, 3.0]))

    def height(x: float) -> float:
        like = stats.t.pdf((2.0 - x) / 0.9, df) if df < math.inf else stats.norm.pdf(2.0, x, 0.9)
        return float(like * np.exp(prior.log_density(np.array(x))))

    from scipy.integrate import quad

    total = quad(height, -40, 40, points=[0.3, 2.0], limit=400)[0]
    made = posterior(estimate, prior)
    mean = quad(lambda x: x * height(x), -40, 40, points=[0.3, 2.0], limit=400)[0] / total
    assert made.mean == pytest.approx(mean, abs=2e-5)
    above = quad(height, 1.0, 40, points=[2.0], limit=400)[0] / total
    assert made.above(1.0) == pytest.approx(above, abs=2e-5)


def test_the_sceptical_limit_is_that_of_matthews() -> None:
    """(U - L)^2 / (4 sqrt(U L)); with the prior that it stands for, the interval touches zero."""
    low, high = 0.9, 4.9  # an interval symmetric about 2.9
    se = (high - low) / (2 * stats.norm.ppf(0.975))
    limit = sceptical_limit(Estimate(2.9, se, math.inf, ""))
    assert limit == pytest.approx((high - low) ** 2 / (4 * math.sqrt(high * low)), rel=1e-9)
    made = posterior(Estimate(2.9, se, math.inf, ""), normal(0.0, limit / stats.norm.ppf(0.975)))
    assert made.quantile(0.025) == pytest.approx(0.0, abs=1e-9)
    assert math.isnan(sceptical_limit(Estimate(1.0, 1.0, math.inf, "")))
    # Beyond its own limit from z = 1.96 sqrt(golden ratio), p = 0.0127 (Matthews 2018)
    for z, credible in ((2.49, False), (2.50, True)):
        assert (z > sceptical_limit(Estimate(z, 1.0, math.inf, ""))) is credible
    # Held (2019): at 5% from z = 1.96 sqrt(2), p = 0.0056
    assert credible_p(Estimate(1.959964 * math.sqrt(2), 1.0, math.inf, "")) == pytest.approx(0.05)


def test_the_sceptical_limit_of_a_t_takes_its_posterior_to_zero() -> None:
    estimate = Estimate(2.9, 1.0, 20.0, "")
    limit = sceptical_limit(estimate)
    made = posterior(estimate, normal(0.0, limit / stats.norm.ppf(0.975)))
    assert made.quantile(0.025) == pytest.approx(0.0, abs=1e-3)


def test_conflict_is_the_tail_of_the_prior_predictive() -> None:
    found = conflict(Estimate(3.0, 1.0, math.inf, ""), normal(0.0, 0.5))
    assert found == pytest.approx(2 * stats.norm.sf(3 / math.sqrt(1.25)), abs=1e-12)


# Ignored therapists ------------------------------------------------------------------------------

TRIALS = 6000  # of each design; a ratio of variances is then known to 4 times 1.9%


def spread(design: str, share: float, therapists: int, each: int) -> tuple[float, float]:
    """Ratio of the true variance to the mean printed one over simulated trials, and its error."""
    rng = np.random.default_rng(11)
    n = therapists * each
    within = rng.normal(0, math.sqrt(1 - share), (TRIALS, 2, therapists, each))
    if design == "slopes":
        x = rng.normal(0, 1, (TRIALS, therapists, each))
        slope = rng.normal(0, math.sqrt(share), (TRIALS, therapists, 1))
        y = (0.3 + slope) * x + within[:, 0]
        x, y = x.reshape(TRIALS, n), y.reshape(TRIALS, n)
        x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
        estimate = (x * y).sum(1) / (x**2).sum(1)
        residual = ((y - estimate[:, None] * x) ** 2).sum(1) / (n - 2)
        printed = residual / (x**2).sum(1)
    else:
        between = rng.normal(0, math.sqrt(share), (TRIALS, 2, therapists, 1))
        if design == "crossed":  # the same therapists in both arms
            between[:, 1] = between[:, 0]
        y = (within + between).reshape(TRIALS, 2, n)
        estimate = y[:, 1].mean(1) - y[:, 0].mean(1)
        printed = y.var(axis=2, ddof=1).mean(1) * 2 / n
    ratio = estimate.var() / printed.mean()
    return ratio, ratio * math.sqrt(2 / TRIALS)


@pytest.mark.parametrize("design", ["nested", "crossed", "slopes"])
@pytest.mark.parametrize(("share", "therapists", "each"), [(0.05, 6, 12), (0.2, 10, 8)])
def test_design_effects_are_those_of_simulated_trials(
    design: Any, share: float, therapists: int, each: int
) -> None:
    n = float(therapists * each)
    shared = Clustering(design, (n,) if design == "slopes" else (n, n), float(therapists))
    ratio, error = spread(design, share, therapists, each)
    # Of slopes the printed variance has the random sum of squares below it: a little more
    allowed = 4 * error + (0.03 * ratio if design == "slopes" else 0.0)
    assert abs(shared.effect(share) - ratio) < allowed
    assert shared.effect(0.0) == pytest.approx(1.0, abs=1e-12)


def test_at_the_tipping_share_the_interval_just_reaches_no_effect() -> None:
    shared = Clustering("nested", (74.0, 74.0), 4.0)
    share = shared.tipping(2.9 / 1.95)
    assert math.sqrt(shared.effect(share)) * 1.95 == pytest.approx(2.9, abs=1e-6)
    assert math.isnan(shared.tipping(0.9))
    assert math.isinf(Clustering("crossed", (74.0, 74.0), 4.0).tipping(1.5))


def test_the_prior_of_the_share_has_the_printed_mean_and_largest_value() -> None:
    shares = field_shares()
    assert shares.mean() == pytest.approx(0.082, abs=0.001)
    assert (shares > 0.29).mean() == pytest.approx(0.025, abs=0.01)


# Several trials ----------------------------------------------------------------------------------


def test_eight_schools_as_bayesmeta_prints_them() -> None:
    """The introduction of R's bayesmeta: half-Cauchy(25) for tau, N(0, 50) for mu.

    It prints for tau mean 5.884511, median 4.758539, SD 4.869904, and for mu mean 7.985729, median
    7.962961, SD 4.995762, where mu is approximated to its tolerance of about 0.001.
    """
    effects = np.array([28.39, 7.94, -2.75, 6.82, -0.64, 0.63, 18.01, 12.16])
    errors = np.array([14.9, 10.2, 16.3, 11.0, 9.4, 11.4, 10.4, 17.6])
    made = meta_analysis(
        effects,
        errors,
        lambda tau: np.asarray(stats.halfcauchy.logpdf(tau, scale=25)),
        scale=10.0,
        prior=(0.0, 50.0),
    )
    tau = made.heterogeneity
    assert [tau.mean, tau.quantile(0.5), tau.sd] == pytest.approx(
        [5.884511, 4.758539, 4.869904], abs=1e-5
    )
    assert [made.mean.mean, made.mean.quantile(0.5), made.mean.sd] == pytest.approx(
        [7.985729, 7.962961, 4.995762], abs=1e-3
    )


def test_known_heterogeneity_is_the_closed_form() -> None:
    effects, errors = np.array([1.0, 2.5, 0.2]), np.array([0.4, 0.6, 0.5])
    known = 0.7
    made = meta_analysis(
        effects,
        errors,
        lambda tau: np.asarray(stats.norm.logpdf(np.log(tau), math.log(known), 0.002)),
        scale=known,
    )
    weight = 1 / (errors**2 + known**2)
    mean = (weight @ effects) / weight.sum()
    assert made.mean.mean == pytest.approx(mean, abs=1e-4)
    assert made.mean.sd == pytest.approx(weight.sum() ** -0.5, abs=1e-4)
    assert made.new.sd == pytest.approx(math.sqrt(1 / weight.sum() + known**2), abs=1e-3)
    shrunk = (effects / errors**2 + mean / known**2) / (1 / errors**2 + 1 / known**2)
    assert [each.mean for each in made.trials] == pytest.approx(list(shrunk), abs=1e-3)


def test_findings_of_several_trials_are_pooled_and_of_one_trial_never(tmp_path: Path) -> None:
    first = 'trial = "one"\nestimate = -1.0\nse = 0.5\nn = 100'
    second = 'trial = "two"\nestimate = -2.0\nse = 0.4\nn = 160'
    made = Paper(read_printed(written(tmp_path, first, second)), Asked(heterogeneity=1.0))
    table = made.meta_analysis.set_index("part")
    own = meta_analysis(np.array([-1.0, -2.0]), np.array([0.5, 0.4]), half_normal(1.0), scale=1.0)
    assert table.loc["mean", "mean"] == pytest.approx(own.mean.mean)
    # By default half an SD between patients: 0.5 * sqrt(260 / (1/0.25 + 1/0.16)) / 2
    default = Paper(read_printed(tmp_path)).meta_analysis["prior_scale"].iloc[0]
    assert default == pytest.approx(0.25 * math.sqrt(260 / (4 + 6.25)))
    alone = written(tmp_path, "estimate = -1.0\nse = 0.5", 'claim = "x"'.replace("x", "number"))
    text = alone.read_text(encoding="utf-8").split("[[finding]]")
    twice = text[1] + "\n[[finding]]" + text[1].replace("this test", "another test")
    alone.write_text("[[finding]]" + twice, encoding="utf-8")
    assert Paper(read_printed(tmp_path)).meta_analysis.empty


# Bad input ---------------------------------------------------------------------------------------

BAD = {
    "estimate = 1.0\nlower = 2.0\nupper = 0.5": "upside down",
    "estimate = 1.0\nse = 0": "greater than 0",
    "estimate = 1.0\nse = -0.5": "greater than 0",
    "estimate = 1.0\nlower = 0.5\nupper = 1.5\nn = 0": "greater than or equal to 1",
    "estimate = 1.0\nn = { X = 3 }": "no arm 'X'",
    "estimate = 1.0\np = 0.5\np_below = 0.6": "keep the one",
    'estimate = -1.0\nscale = "ratio"': "above zero",
}


@pytest.mark.parametrize("entry", BAD)
def test_impossible_entries_are_refused_with_their_place(entry: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="finding 1") as refused:
        read_printed(written(tmp_path, entry))
    assert BAD[entry] in str(refused.value)


def test_missing_patients_are_asked_for_where_they_are_needed(tmp_path: Path) -> None:
    path = written(tmp_path, "estimate = -1.0\nse = 0.5")
    assert Paper(read_printed(path)).therapists.empty
    with pytest.raises(InputError, match=r"finding 1 \(pain, arm_contrast, B-A\) has no n"):
        Paper(read_printed(path), Asked(therapists=(6,))).therapists  # noqa: B018
    trials = (
        'trial = "one"\nestimate = -1.0\nse = 0.5',
        'trial = "two"\nestimate = -2.0\nse = 0.4',
    )
    with pytest.raises(InputError, match="has no n, which the prior of the SD"):
        Paper(read_printed(written(tmp_path, *trials))).meta_analysis  # noqa: B018


def test_a_paper_without_a_study_beside_it_is_read(tmp_path: Path) -> None:
    made = Paper(read_printed(written(tmp_path, "estimate = -1.0\nse = 0.5\nn = 80", study=None)))
    row = made.posteriors.iloc[0]
    assert row["prob_positive"] == pytest.approx(stats.norm.sf(2.0), abs=1e-9)
    assert math.isnan(row["prob_benefit"])  # nobody says which scores are better
    assert not made.therapists.empty


def test_a_slope_is_seen_under_the_fields_prior_where_its_sds_are_printed(tmp_path: Path) -> None:
    """r = .278 with an SD of hypot(.011, .15) between studies, in points: 2.3 / 12 for one SD."""
    text = HEAD.replace("arm_contrast", "moderator_slope").replace("B-A", "average")
    entry = "estimate = -0.060\nse = 0.020\nn = 120\nsd = 2.3\nmoderator_sd = 12.0\n"
    (tmp_path / "published.toml").write_text(text + entry, encoding="utf-8")
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    made = Paper(read_printed(tmp_path))
    rows = made.posteriors.set_index("prior")
    unit, spread = 2.3 / 12, math.hypot(0.043 / 2 / 1.959964, 0.15)
    weight = (0.020 / math.hypot(0.020, spread * unit)) ** 2
    wanted = weight * -0.278 * unit + (1 - weight) * -0.060  # lower pain is the benefit
    assert rows.loc["field", "mean"] == pytest.approx(wanted, abs=1e-6)
    assert set(made.therapists["design"]) == {"slopes"}
    (tmp_path / "published.toml").write_text(
        text + "estimate = -0.060\nse = 0.020\n", encoding="utf-8"
    )
    assert "field" not in set(Paper(read_printed(tmp_path)).posteriors["prior"])


def test_a_ratio_is_normal_on_the_log_scale(tmp_path: Path) -> None:
    entry = 'scale = "ratio"\nestimate = 1.20\nlower = 1.04\nupper = 1.39\nn = 900'
    made = Paper(read_printed(written(tmp_path, entry, study=None)))
    row = made.posteriors.iloc[0]
    half = math.log(1.39 / 1.04) / 2
    told = [math.exp(math.log(1.2) - half), math.exp(math.log(1.2) + half)]
    assert [row["lower"], row["upper"]] == pytest.approx(told, rel=1e-9)
    z = math.log(1.2) / (half / stats.norm.ppf(0.975))
    assert row["prob_positive"] == pytest.approx(stats.norm.cdf(z), abs=1e-9)
    assert made.credibility["sceptical_limit"].iloc[0] > 1
    with pytest.raises(InputError, match="printed as a ratio"):
        Paper(read_printed(tmp_path), Asked(threshold=0.5)).posteriors  # noqa: B018
