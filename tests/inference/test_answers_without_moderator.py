"""Answers of trials with arms without a moderator, and of plain ones, against other programs."""

from __future__ import annotations

from functools import cache
from typing import Any

import arviz_stats as azs
import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import pytest
import statsmodels.formula.api as smf
import xarray as xr
from scipy import special
from trials_without import EFFECTS, OUTCOME, SLOPES, a_frame, a_study

from alliance.data_prep.errors import InputError
from alliance.data_prep.study.description import Study
from alliance.data_prep.trial.trial import trial_from_frame
from alliance.inference.answers.averages import average
from alliance.inference.answers.decisions import decisions
from alliance.inference.answers.effects import effects_along, effects_table
from alliance.inference.answers.predictions import predict
from alliance.inference.answers.therapists import therapists
from alliance.inference.answers.unseen_improvement import unseen_improvement
from alliance.inference.estimands.compared_at import place_in_words
from alliance.inference.estimands.estimands import estimand_draws
from alliance.inference.many_fits.assurance import Assumptions, Criterion, assurance_question
from alliance.inference.many_fits.multiverse import build_multiverse
from alliance.inference.patients.asked_patients import patient_grid, trial_patients
from alliance.inference.patients.patient_files import patients_from_frame
from alliance.inference.posterior import Posterior
from alliance.inference.priors.prior_predictive import prior_draws
from alliance.inference.published.comparison import compare
from alliance.inference.published.published import read_published
from alliance.inference.runs.choices import model_choices
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.fitting import fit_trial
from alliance.inference.sampling.profiles import find_profile
from alliance.inference.scores.thresholds import Thresholds
from alliance.models.design.design import build_design
from alliance.models.priors import Priors
from alliance.models.spec import specify

FLAT = dict.fromkeys(("intercept", "baseline_slope", "arm", "moderator_slope"), 50.0)
FLAT |= {"interaction": 50.0, "covariate_slope": 50.0, "residual_sd": 50.0}
NOBODY = {"therapist": "none"}
ALLIANCE = 66.0  # at which contrasts are asked for by name


def with_priors(study: Study, priors: dict[str, float]) -> Study:
    return Study.model_validate(study.model_dump() | {"priors": priors})


@cache
def fitted(which: str, *, flat: bool = False) -> Fit:
    """Real draws of the instant engine, whose coefficients integrate out."""
    study = {
        "waiting": lambda: a_study(model=NOBODY if flat else {}),
        "one": lambda: a_study(arms=("WL", "CBT"), rated=("CBT",), model=NOBODY if flat else {}),
        "plain": lambda: a_study(rated=None, model=NOBODY if flat else {}),
    }[which]()
    frame = a_frame(arms=tuple(study.arms), rated=study.rated_arms)
    if flat:
        study = with_priors(study, FLAT)
    trial = trial_from_frame(study, frame)
    return fit_trial(trial, find_profile("standard"), seed=8, engine="instant")


def table_of(fit: Fit, **asked: Any) -> pd.DataFrame:
    return fit.summary(**asked).set_index(["quantity", "level"])


# Coefficients against statsmodels ----------------------------------------------------------------

CONTRASTS = {"CBT-WL": "cbt", "IPT-WL": "ipt", "IPT-CBT": "ipt - cbt"}


def regression(which: str, at: float) -> Any:
    """OLS of the same terms, dummies beside the waiting list, the alliance counted from `at`."""
    frame = a_frame(**({"arms": ("WL", "CBT"), "rated": ("CBT",)} if which == "one" else {}))
    frame = frame.assign(
        cbt=(frame["arm"] == "CBT").astype(float), ipt=(frame["arm"] == "IPT").astype(float)
    )
    away = (frame["wai"] - at).fillna(0.0)
    frame = frame.assign(own_cbt=frame["cbt"] * away, own_ipt=frame["ipt"] * away)
    terms = {
        "waiting": "cbt + ipt + own_cbt + own_ipt",
        "one": "cbt + own_cbt",
        "plain": "cbt + ipt",
    }[which]
    return smf.ols(f"mood_12 ~ mood_0 + age + {terms}", frame).fit()


@pytest.mark.parametrize("which", ["waiting", "one", "plain"])
def test_near_flat_priors_give_the_coefficients_of_least_squares(which: str) -> None:
    """Without therapists, to 0.1 standard errors, at a named alliance.

    Contrasts of an arm with an alliance and the waiting list are those at that alliance; slopes
    are those of the arms that have one, weighted alike.
    """
    at = None if which == "plain" else ALLIANCE
    ols = regression(which, ALLIANCE)
    table = table_of(fitted(which, flat=True), at=at)
    asked = {("arm_contrast", "CBT-WL"): "cbt", ("baseline_slope", ""): "mood_0"}
    asked[("covariate_slope", "age")] = "age"
    if which == "one":
        asked[("moderator_slope", "average")] = "own_cbt"
    else:
        asked |= {("arm_contrast", level): terms for level, terms in CONTRASTS.items()}
    if which == "waiting":
        asked |= {
            ("moderator_slope", "CBT"): "own_cbt",
            ("moderator_slope", "IPT"): "own_ipt",
            ("moderator_slope", "average"): "0.5 * own_cbt + 0.5 * own_ipt",
            ("interaction", "IPT-CBT"): "own_ipt - own_cbt",
        }
    for label, terms in asked.items():
        test = ols.t_test(f"{terms} = 0")
        estimate, se = float(test.effect[0]), float(np.squeeze(test.sd))
        assert abs(table.loc[label, "mean"] - estimate) < 0.1 * se, label
        assert table.loc[label, "sd"] == pytest.approx(se, rel=0.05), label
    named = {label[0] for label in table.index}
    slopes = {level for quantity, level in table.index if quantity == "moderator_slope"}
    assert (
        slopes == {"waiting": {"average", "CBT", "IPT"}, "one": {"average"}, "plain": set()}[which]
    )
    assert ("interaction" in named) == (which == "waiting")  # never of an arm without an alliance
    assert table["at"].isna().all() == (which == "plain")


@pytest.mark.parametrize("which", ["waiting", "one", "plain"])
def test_refits_are_those_of_statsmodels_with_every_patient(which: str) -> None:
    """Patients without an alliance stay in the regressions: else their arm would be gone."""
    at = None if which == "plain" else ALLIANCE
    table = compare(fitted(which), (), at=at).set_index(["quantity", "level"])
    ols = regression(which, ALLIANCE)
    row = table.loc[("arm_contrast", "CBT-WL")]
    assert row["ols_estimate"] == pytest.approx(ols.params["cbt"], rel=1e-9)
    assert row["ols_se"] == pytest.approx(ols.bse["cbt"], rel=1e-9)
    assert row["ols_df"] == ols.df_resid
    assert abs(row["reml_estimate"] - ols.params["cbt"]) < row["ols_se"]
    # Where no slopes differ there is one regression, not two of the same name
    assert table["ols_main_estimate"].isna().all() == (which != "waiting")


@pytest.mark.mcmc
def test_posterior_is_that_of_a_plain_pymc_model() -> None:
    """The same priors on the same scale, patient by patient; 4 Monte Carlo errors."""
    fit, frame = fitted("waiting"), a_frame()
    rated = frame["wai"].notna().to_numpy()
    alliance = ((frame["wai"] - frame["wai"].mean()) / frame["wai"].std()).fillna(0).to_numpy()
    standard = {
        name: ((frame[name] - frame[name].mean()) / frame[name].std()).to_numpy()
        for name in ("mood_0", "age", "mood_12")
    }
    arm = frame["arm"].map(["WL", "CBT", "IPT"].index).to_numpy()
    treated = np.where(arm == 0, 0, arm - 1)
    codes, therapist = np.unique(frame["therapist"], return_inverse=True)
    priors = Priors()
    with pm.Model():
        intercept = pm.Normal("intercept", 0, priors.intercept)
        before = pm.Normal("before", 0, priors.baseline_slope)
        age = pm.Normal("age", 0, priors.covariate_slope)
        effect = pm.ZeroSumNormal("effect", priors.arm, shape=3)
        average = pm.Normal("average", 0, priors.moderator_slope)
        apart = pm.ZeroSumNormal("apart", priors.interaction, shape=2)
        sd_u = pm.HalfNormal("sd_u", priors.therapist_sd)
        sd_v = pm.HalfNormal("sd_v", priors.therapist_slope_sd)
        half = pm.Beta("half", priors.therapist_correlation, priors.therapist_correlation)
        rho = 2 * half - 1  # an LKJ correlation of two
        z = pm.Normal("z", 0, 1, shape=(2, len(codes)))
        u, v = sd_u * z[0], sd_v * (rho * z[0] + pt.sqrt(1 - rho**2) * z[1])
        slope = average + apart[treated] + v[therapist]
        eta = intercept + before * standard["mood_0"] + age * standard["age"] + effect[arm]
        eta = eta + u[therapist] + slope * alliance * rated
        pm.Normal("y", eta, pm.HalfNormal("residual", priors.residual_sd),
                  observed=standard["mood_12"])  # fmt: skip
        draws = pm.sample(
            1000, tune=1000, chains=2, cores=1, random_seed=5, nuts_sampler="nutpie",
            target_accept=0.95, progressbar=False,
        )  # fmt: skip
    own = draws.posterior
    unit = frame["mood_12"].std()
    at = (ALLIANCE - frame["wai"].mean()) / frame["wai"].std()
    per_point = unit / frame["wai"].std()
    slopes = {code: own["average"] + own["apart"][..., k] for k, code in enumerate(SLOPES)}
    effects = {code: own["effect"][..., k] for k, code in enumerate(EFFECTS)}
    expected = {
        ("arm_contrast", "CBT-WL"): unit * (effects["CBT"] - effects["WL"] + at * slopes["CBT"]),
        ("arm_contrast", "IPT-CBT"): unit
        * (effects["IPT"] - effects["CBT"] + at * (slopes["IPT"] - slopes["CBT"])),
        ("moderator_slope", "average"): per_point * own["average"],
        ("moderator_slope", "IPT"): per_point * slopes["IPT"],
        ("therapist_slope_sd", ""): per_point * own["sd_v"],
        ("residual_sd", ""): unit * own["residual"],
    }
    table = table_of(fit, at=ALLIANCE)
    for label, values in expected.items():
        draw = xr.Dataset({"q": values})
        error = float(azs.mcse(draw)["q"])
        row = table.loc[label]
        both = np.hypot(error, row["sd"] / np.sqrt(row["ess_bulk"]))
        assert abs(float(values.mean()) - row["mean"]) < 4 * both, label


# Contrasts at a named alliance, by brute force ---------------------------------------------------


def a_curved(study: Study, family: str) -> Posterior:
    """Draws from the priors for a family with a curved link: there are no others without NUTS."""
    frame = a_frame(arms=tuple(study.arms), rated=study.rated_arms, whole=True)
    trial = trial_from_frame(study, frame)
    spec = specify(study)[OUTCOME]
    design = build_design(trial.analysed(OUTCOME), spec, study.outcomes[OUTCOME].range)
    assert design.family.name == family
    generator = np.random.default_rng(4)
    return Posterior(design, prior_draws(design, Priors(), draws=40, generator=generator))


@pytest.mark.parametrize("at", [None, ALLIANCE])
def test_contrasts_under_a_curved_link_average_over_every_patient(at: float | None) -> None:
    """Beta-binomial: the logistic of the predictor, patient by patient, written out.

    With no alliance named patients keep their own, and those of the waiting list have the mean of
    the others where they are imagined in a therapy.
    """
    study = a_study(family="beta_binomial", model={"likelihood": "native"})
    posterior = a_curved(study, "beta_binomial")
    frame, beta = a_frame(whole=True), posterior.beta
    place = posterior.design.coefficients.index
    mean, sd = frame["wai"].mean(), frame["wai"].std()
    alliance = ((frame["wai"] if at is None else at + 0 * frame["age"]) - mean) / sd
    alliance = alliance.fillna(0.0).to_numpy()
    fixed = beta[:, [place("baseline")]] * standardised(frame["mood_0"])
    fixed = fixed + beta[:, [place("covariate[age]")]] * standardised(frame["age"])
    basis = np.array([posterior.design.X[frame["arm"] == code][0] for code in EFFECTS])
    scores = []
    for k, code in enumerate(EFFECTS):
        arm = beta[:, [place("intercept")]] + sum(
            beta[:, [place(f"arm[{j}]")]] * basis[k, place(f"arm[{j}]")] for j in (1, 2)
        )
        side = {"WL": 0.0, "CBT": 1.0, "IPT": -1.0}[code]
        slope = (code != "WL") * beta[:, [place("moderator")]]
        slope = slope + side / np.sqrt(2) * beta[:, [place("interaction[1]")]]
        predictor = arm + fixed + slope * alliance
        scale = posterior.design.scale
        eta = scale.link_location + scale.link_unit * predictor
        scores.append(63 * special.expit(eta).mean(axis=1))
    found = estimand_draws(posterior, at=at)
    for level, (later, earlier) in {"CBT-WL": (1, 0), "IPT-WL": (2, 0), "IPT-CBT": (2, 1)}.items():
        own = found.isel(
            estimand=(found["quantity"].values == "arm_contrast") & (found["level"].values == level)
        )
        np.testing.assert_allclose(own.values.ravel(), scores[later] - scores[earlier], atol=1e-7)


def standardised(values: pd.Series) -> np.ndarray:
    return np.asarray((values - values.mean()) / values.std())


def test_summary_averages_effects_and_decisions_answer_alike() -> None:
    """Contrasts at the mean and at a value, from the coefficients and patient by patient."""
    fit = fitted("waiting")
    posterior = fit[OUTCOME]
    for at in (None, ALLIANCE):
        table = table_of(fit, at=at).loc["arm_contrast"]
        asked = trial_patients(posterior, alliance=None if at is None else [at])
        averages = average(posterior, asked, therapist="average").contrasts
        np.testing.assert_allclose(averages["expected"], table["mean"], atol=1e-8)
    effects = effects_table(effects_along(posterior, values=[ALLIANCE]), every=False)
    along = effects[effects["quantity"] == "arm_contrast"].set_index("level")["mean"]
    np.testing.assert_allclose(along[table.index], table["mean"], atol=1e-8)
    interaction = effects[effects["quantity"] == "interaction"]["level"].tolist()
    assert interaction == ["IPT-CBT"]
    waiting = effects_along(posterior).curves.expected[:, 0]
    np.testing.assert_allclose(waiting - waiting[:, :1], 0, atol=1e-9)  # no alliance enters


def test_a_lifted_alliance_is_that_of_the_patients_who_have_one() -> None:
    fit = fitted("waiting")
    answer = decisions(fit[OUTCOME], Thresholds(), raise_alliance=2.0, extrapolate=True)
    lifts = answer.table[answer.table["lift"].notna()].set_index("level")["mean"]
    assert lifts.index.tolist() == ["CBT", "IPT", "as treated"]
    assert answer.raised is not None
    assert answer.raised.patients == 120
    slopes = table_of(fit).loc["moderator_slope", "mean"]
    raised = 2.0 * slopes  # nobody's rating is within two points of the top but for a few
    np.testing.assert_allclose(lifts[["CBT", "IPT"]], raised[["CBT", "IPT"]], rtol=0.1)
    np.testing.assert_allclose(lifts["as treated"], lifts[["CBT", "IPT"]].mean(), rtol=0.1)


def test_unseen_improvement_regresses_those_who_have_a_rating() -> None:
    """The linear slope is that of a regression of the treated patients alone."""
    found = unseen_improvement(fitted("waiting")[OUTCOME])
    rated = a_frame().dropna(subset="wai")
    ols = smf.ols("mood_12 ~ mood_0 + age + arm + wai", rated).fit()
    assert found.patients == 120
    assert found.linear.estimate == pytest.approx(ols.params["wai"], rel=1e-9)
    assert found.linear.se == pytest.approx(ols.bse["wai"], rel=1e-9)
    alone = unseen_improvement(fitted("one")[OUTCOME])
    of_cbt = a_frame(arms=("WL", "CBT"), rated=("CBT",)).dropna(subset="wai")
    plain = smf.ols("mood_12 ~ mood_0 + age + wai", of_cbt).fit()
    assert alone.linear.estimate == pytest.approx(plain.params["wai"], rel=1e-9)


# Patients asked about ----------------------------------------------------------------------------


def test_patients_of_the_waiting_list_need_no_alliance() -> None:
    fit, frame = fitted("waiting"), a_frame().head(12)
    asked = patients_from_frame(fit[OUTCOME], frame)
    own = predict(fit[OUTCOME], asked, therapist="average").table
    assert own["moderator"].isna().tolist() == (frame["arm"] == "WL").tolist()
    assert np.isfinite(own["expected"]).all()
    with pytest.raises(InputError, match="alliance of 4 patients is missing"):
        predict(fit[OUTCOME], asked, contrasts=True)
    frame.loc[1, "wai"] = np.nan  # of a therapy
    with pytest.raises(InputError, match="a value in every cell"):
        patients_from_frame(fit[OUTCOME], frame)


def test_scores_of_the_waiting_list_do_not_hang_on_the_alliance() -> None:
    posterior = fitted("waiting")[OUTCOME]
    grid = patient_grid(posterior, alliance=[45.0, 75.0])
    table = predict(posterior, grid, therapist="average").table.set_index(["arm", "moderator"])
    assert table.loc[("WL", 45.0), "expected"] == pytest.approx(table.loc[("WL", 75.0), "expected"])
    away = table.loc[("CBT", 75.0), "expected"] - table.loc[("CBT", 45.0), "expected"]
    slope = table_of(fitted("waiting")).loc[("moderator_slope", "CBT"), "mean"]
    assert away == pytest.approx(30 * slope, rel=1e-8)


# Plain trials ------------------------------------------------------------------------------------


def test_a_plain_run_answers_without_an_alliance() -> None:
    fit = fitted("plain")
    posterior = fit[OUTCOME]
    contrast = table_of(fit).loc[("arm_contrast", "CBT-WL"), "mean"]
    predicted = predict(posterior, therapist="average", contrasts=True)
    assert "moderator" not in predicted.table
    assert predicted.contrasts is not None
    own = predicted.contrasts.set_index("contrast")["expected"]
    assert own["CBT-WL"] == pytest.approx(contrast)
    told = decisions(posterior, Thresholds(better_by=3.0)).table
    assert told["moderator"].isna().all()
    assert told.set_index(["quantity", "level"]).loc[
        ("arm_contrast", "CBT-WL"), "mean"
    ] == pytest.approx(contrast)
    assert set(therapists(posterior).table["quantity"]) == {"therapist_effect", "therapist_share"}
    assert "same for all patients" in place_in_words(posterior)
    assert all(choice.default for choice in model_choices(fit))
    assert not any("alliance" in str(choice) for choice in model_choices(fit))


@pytest.mark.parametrize(
    "ask",
    [
        lambda fit: fit.summary(at=60.0),
        lambda fit: effects_along(fit[OUTCOME]),
        lambda fit: decisions(fit[OUTCOME], Thresholds(better_by=1.0), values=[60.0]),
        lambda fit: decisions(fit[OUTCOME], Thresholds(), raise_alliance=1.0),
        lambda fit: patient_grid(fit[OUTCOME], alliance=[60.0]),
        lambda fit: trial_patients(fit[OUTCOME], alliance=[60.0]),
        lambda fit: therapists(fit[OUTCOME], alliance=60.0),
        lambda fit: unseen_improvement(fit[OUTCOME]),
        lambda fit: assurance_question(
            fit.study, None, Assumptions(0.3, 0.5, 0.2, 0.1), Criterion(0.975, 0.0)
        ),
    ],
)
def test_what_needs_a_moderator_says_so(ask: Any) -> None:
    with pytest.raises(InputError, match=r"no \[moderator\]"):
        ask(fitted("plain"))


def test_published_slopes_of_a_plain_trial_are_refused(tmp_path) -> None:
    path = tmp_path / "published.toml"
    finding = (
        '[[finding]]\noutcome = "mood"\nquantity = "{}"\nlevel = "{}"\nestimate = -2.0\n'
        'claim = "number"\nsource = "A"\nknown_by = "abstract"\n'
    )
    path.write_text(finding.format("moderator_slope", "average"), encoding="utf-8")
    with pytest.raises(InputError, match=r"no \[moderator\], and with it no moderator_slope"):
        read_published(path, a_study(rated=None))
    path.write_text(finding.format("moderator_slope", "WL"), encoding="utf-8")
    with pytest.raises(InputError, match="'WL'"):
        read_published(path, a_study())


def test_a_multiverse_varies_what_the_trial_has() -> None:
    """No imputed ratings beside arms without any, and no slopes without a moderator."""
    plain = build_multiverse(
        a_study(rated=None), a_frame(rated=()).drop(columns="wai"), ["therapist", "patients"]
    )
    assert {each.universe.therapist for each in plain.analyses} == {"none", "intercept"}
    assert not any("alliance" in each.universe.patients for each in plain.analyses)
    waiting = build_multiverse(a_study(), a_frame(), ["missing_alliance", "patients"])
    assert {each.universe.missing_alliance for each in waiting.analyses} == {"complete_case"}
    extreme = [each for each in waiting.analyses if "alliance" in each.universe.patients]
    assert len(extreme) == 1
    arms = extreme[0].design.arm_index
    assert (arms == 0).sum() == 60  # no rating, so none too far from the mean


def test_an_interaction_of_an_arm_without_a_slope_is_not_planned_for() -> None:
    settings = (Assumptions(0.3, 0.5, 0.2, 0.1), Criterion(0.975, 0.0))
    question = assurance_question(a_study(), None, *settings)
    assert question.contrast == "IPT-CBT"  # the only one there is
    with pytest.raises(InputError, match="CBT-WL"):
        assurance_question(a_study(), "CBT-WL", *settings)
    with pytest.raises(InputError, match="'CBT' is the only arm with a slope"):
        assurance_question(a_study(arms=("WL", "CBT"), rated=("CBT",)), None, *settings)


# Recovery ----------------------------------------------------------------------------------------


def test_slopes_and_contrasts_are_recovered() -> None:
    """Mean z-score over 24 simulated trials within 3.5 of its standard errors, 1 / sqrt(24).

    Large trials, so that the priors, which pull effects towards zero, count for little.
    """
    truth = {
        ("moderator_slope", "CBT"): SLOPES["CBT"],
        ("moderator_slope", "IPT"): SLOPES["IPT"],
        ("arm_contrast", "CBT-WL"): EFFECTS["CBT"] - EFFECTS["WL"],
        ("arm_contrast", "IPT-WL"): EFFECTS["IPT"] - EFFECTS["WL"],
        ("interaction", "IPT-CBT"): SLOPES["IPT"] - SLOPES["CBT"],
    }
    study = a_study(model={"therapist": "intercept"})
    trials, scores = 24, []
    for number in range(trials):
        trial = trial_from_frame(study, a_frame(900, 100 + number, therapists=30))
        fit = fit_trial(trial, find_profile("ci"), seed=number, engine="instant")
        table = table_of(fit, at=60.0)
        scores.append(
            [(table.loc[k, "mean"] - value) / table.loc[k, "sd"] for k, value in truth.items()]
        )
    z = pd.DataFrame(scores, columns=list(truth)).mean()
    print(z)
    assert (z.abs() < 3.5 / np.sqrt(trials)).all()


def test_ratios_of_an_arm_with_an_alliance_and_one_without_are_at_the_named_one() -> None:
    """Conditional odds ratios of events, from the coefficients; no ratio of the waiting list's."""
    study = a_study().model_dump()
    outcome = {"label": "Response", "followup": "response", "better": "higher", "family": "binary"}
    study["outcomes"] = {"response": outcome | {"event": "yes"}}
    frame = a_frame().assign(response=lambda own: np.where(own["mood_12"] < 17, "yes", "no"))
    described = Study.model_validate(study)
    trial = trial_from_frame(described, frame)
    spec = specify(described)["response"]
    design = build_design(trial.analysed("response"), spec, described.outcomes["response"].range)
    generator = np.random.default_rng(4)
    posterior = Posterior(design, prior_draws(design, Priors(), draws=40, generator=generator))
    found = estimand_draws(posterior, at=ALLIANCE)
    place, beta = design.coefficients.index, posterior.beta
    away = (ALLIANCE - frame["wai"].mean()) / frame["wai"].std()
    arms = {code: design.X[(frame["arm"] == code).to_numpy()][0] for code in EFFECTS}
    effect = {
        code: sum(beta[:, place(f"arm[{j}]")] * row[place(f"arm[{j}]")] for j in (1, 2))
        for code, row in arms.items()
    }
    slope = beta[:, place("moderator")] + beta[:, place("interaction[1]")] / np.sqrt(2)  # CBT's
    expected = np.exp(design.scale.link_unit * (effect["CBT"] - effect["WL"] + away * slope))
    labels = list(zip(found["quantity"].values, found["level"].values, strict=True))
    own = found.values[..., labels.index(("odds_ratio_conditional", "CBT-WL"))].ravel()
    np.testing.assert_allclose(own, expected, rtol=1e-9)
    levels = [level for quantity, level in labels if quantity == "moderator_odds_ratio"]
    assert levels == ["average", "CBT", "IPT"]
