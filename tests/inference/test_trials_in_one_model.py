"""Several trials in one model: what is pooled, what each trial keeps, and what a new one may be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from posterior_agreement import differences
from trials_together import Rows, Truth, made_trials, written

import alliance as al
from alliance.data_prep.moments import Moments
from alliance.data_prep.registry.registry import load_registry
from alliance.data_prep.shares.pooling import load_pooled
from alliance.data_prep.study.description import narrowed, read_study
from alliance.inference.runs.fitting import fit_registry
from alliance.inference.sampling.instant import instant_outcome
from alliance.inference.sampling.profiles import Engine, SamplerProfile
from alliance.inference.sampling.trials import fit_trials
from alliance.models.design.design import Design
from alliance.models.priors import Priors
from alliance.models.trials.design import TrialsDesign

PRIORS = Priors()
SHORT = SamplerProfile("ci", chains=2, draws=500, tune=500)


def copied(design: Design, times: int) -> Design:
    """So many copies of the trial, with therapists of their own, as one trial."""
    own = design.moments
    return replace(
        design,
        therapists=tuple(f"{copy}:{name}" for copy in range(times) for name in design.therapists),
        given=(Moments(np.tile(own.cross_products, (times, 1, 1)), np.tile(own.count, times)),),
    )


@pytest.mark.parametrize("therapists", [True, False])
def test_ten_identical_trials_are_the_pooled_fit(*, therapists: bool) -> None:
    """With fixed effects and one residual SD, the contrasts and slopes are those of one trial.

    Four Monte Carlo errors of a difference are 4 sqrt(2 / 1000) = .18 posterior SDs. The residual
    sum of squares is the same, with as many degrees of freedom less as trials have levels and
    slopes of the baseline of their own, and gives a residual SD as much larger.

    Therapists are around ten levels of five, not around one of fifty. The sum of squares S of their
    means is the same too, as all copies have one level, and has 40 degrees of freedom, not 49. With
    a prior that is flat over the likelihood, the mean of what S estimates, the therapists' variance
    and that of a mean of 25 residuals, is S / (df - 3), so that the two are as 46 to 37. Four Monte
    Carlo errors are 6%: the variance is known to 33%, and 4 sqrt(2 / 1000) .33 = .06.
    """
    one = made_trials(2, 4, therapists=5, patients=25).design().designs[0]
    if not therapists:
        one = replace(one, effects=())
    ten = copied(one, 10)
    several = TrialsDesign(
        ten, tuple(map(str, range(10))), np.repeat(np.arange(10), len(one.therapists)), False, False
    )
    assert not several.across  # they do not differ in their mean alliance
    tree, _ = fit_trials(several, PRIORS, SHORT, 1, engine="instant")
    pooled, _ = instant_outcome(ten, PRIORS, SHORT, 1)
    mine, theirs = (each["posterior"].dataset for each in (tree, pooled))
    shared = [several.coefficients[k] for k in several.shared]
    extra = 9 * (theirs["beta"].sizes["coefficient"] - len(shared))
    widened = np.sqrt(1 + extra / ten.moments.count.sum())
    for name, where, factor in (
        ("beta", {"coefficient": shared}, 1.0),
        ("residual_sd", {}, widened),
    ):
        one_mean, other_mean = (
            each[name].sel(where).mean(("chain", "draw")) for each in (mine, theirs)
        )
        one_sd, other_sd = (each[name].sel(where).std(("chain", "draw")) for each in (mine, theirs))
        assert float((np.abs(one_mean - factor * other_mean) / other_sd).max()) < 0.2
        assert float(np.abs(one_sd / other_sd - 1).max()) < 0.15
    if therapists:
        noise = float(theirs["residual_sd"].mean()) ** 2 / 25
        squares = [float((each["therapist_sd"] ** 2).mean()) + noise for each in (mine, theirs)]
        assert squares[0] / squares[1] == pytest.approx(46 / 37, rel=0.06)


def test_the_slopes_within_trials_are_not_confounded_by_what_trials_differ_in() -> None:
    """An ecological confounder of .6 for one SD of a trial's mean alliance; within trials the
    slopes differ by .2.

    Taken as one trial, the difference is a mean of .2 and .6, weighted by the squares of the
    alliance within and between trials; trials' own contrasts, with an SD of .1 sqrt(2), move it by
    these times the root of their squared weights. Here .56 of the squares are between
    trials, and .4 times so much is eight of its posterior SDs: four are passed unless it is
    out by three of the SDs that it has over data sets.
    """
    truth = Truth(ecological=0.6, spread=2.0, arm_sd=0.1, interaction_sd=0.0)
    rows = made_trials(10, 7, truth=truth, therapists=5, patients=30)
    design = rows.design()
    posterior = fit_trials(design, PRIORS, SHORT, 3, engine="instant")[0]["posterior"].dataset
    scale = design.pooled.scaling.moderator[1] / design.pooled.scaling.outcome[1]
    # Difference of B and A: so many times the coefficient, whose basis runs from A to B or back
    basis = np.diff(design.pooled.encoding.slope_weights[:, 1])[0] / scale
    interaction = basis * posterior["beta"].sel(coefficient="interaction[1]")
    across = basis * posterior["trial_across"].isel(arm_basis=0)
    for found, true in ((interaction, 0.2), (across, 0.6)):
        assert abs(float(found.mean()) - true) < 3 * float(found.std())
    single, _ = instant_outcome(design.pooled, PRIORS, SHORT, 3)
    naive = basis * single["posterior"].dataset["beta"].sel(coefficient="interaction[1]")
    each = [rows.moderator[rows.trial == t] for t in range(10)]
    between = np.array([len(own) * (own.mean() - rows.moderator.mean()) for own in each])
    whole = float(((rows.moderator - rows.moderator.mean()) ** 2).sum())
    share = 1 - sum(float(((own - own.mean()) ** 2).sum()) for own in each) / whole
    own_contrasts = 0.1 * np.sqrt(2) * np.sqrt((between**2).sum()) / whole
    spread = np.hypot(float(naive.std()), own_contrasts)
    assert abs(float(naive.mean()) - (0.2 + 0.4 * share)) < 3 * spread
    assert 0.4 * share > 4 * float(naive.std()) + 3 * spread
    assert float(naive.mean()) - 0.2 > 4 * float(naive.std())


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rows, Path]:
    rows = made_trials(6, 3, therapists=5, patients=20)
    folder = tmp_path_factory.mktemp("six")
    written(rows, folder)
    return rows, folder


@pytest.fixture(scope="module")
def run(six: tuple[Rows, Path]) -> al.Run:
    study = al.study(six[1] / "study.toml")
    trial = study.choose(model={"several_trials": "varying"}).read(six[1])
    return al.fit(trial, profile="ci", engine="instant", seed=5)


def test_one_trial_is_the_single_fit_bit_for_bit(six: tuple[Rows, Path], tmp_path: Path) -> None:
    rows = six[1] / "trial1.csv"
    (tmp_path / rows.name).write_text(rows.read_text())
    study = read_study(six[1] / "study.toml")
    single = fit_registry(load_registry(study, tmp_path), SHORT, 9, engine="instant")
    several = load_pooled(narrowed(study, several_trials="varying"), [tmp_path])
    one = fit_registry(several, SHORT, 9, engine="instant")
    assert not one.several_trials
    mine, theirs = (fit.trees["pain"]["posterior"].dataset for fit in (one, single))
    for name in theirs.data_vars:
        assert (mine[name].values == theirs[name].values).all()


def test_every_trial_the_average_and_a_new_one_have_rows(run: al.Run) -> None:
    table = run.summary().table
    contrast = table[table["quantity"] == "arm_contrast"].set_index("trial")
    assert list(contrast.index) == ["average", "new", *(f"trial{k}" for k in range(1, 7))]
    new, average = contrast.loc["new"], contrast.loc["average"]
    between = table[table["quantity"] == "trial_arm_sd"].iloc[0]
    # A new trial: the average one's variance and the mean square of the SD between trials
    expected = np.sqrt(average["sd"] ** 2 + between["mean"] ** 2 + between["sd"] ** 2)
    assert new["sd"] == pytest.approx(expected, rel=0.1)  # 2,000 draws of a heavy-tailed mixture
    assert abs(new["mean"] - average["mean"]) < 4 * new["sd"] / np.sqrt(2_000)


def test_trials_are_drawn_towards_the_average(run: al.Run, six: tuple[Rows, Path]) -> None:
    """Their contrasts spread less than least squares has them, and stay in its order mostly."""
    rows, table = six[0], run.trials(quantity="arm_contrast").table
    own = table[(table["quantity"] == "arm_contrast") & table["trial"].str.startswith("trial")]
    crude = []
    for t in range(6):
        here = rows.trial == t
        x = rows.moderator[here] - rows.moderator[here].mean()
        arm = rows.arm[here]
        X = np.column_stack([np.ones(here.sum()), rows.baseline[here], arm, x, arm * x])
        crude.append(10 * np.linalg.lstsq(X, rows.outcome[here])[0][2])
    shrunken = own["mean"].to_numpy()
    assert shrunken.std() < np.std(crude)
    assert np.corrcoef(shrunken, crude)[0, 1] > 0.9


def test_leaving_an_odd_trial_out_brings_the_average_to_the_others(run: al.Run) -> None:
    answer = run.trials(quantity="arm_contrast", leave_one_out=True)
    table = answer.table
    each = table[table["trial"].str.startswith("trial")].set_index("trial")["mean"]
    average = table[(table["trial"] == "average") & (table["quantity"] == "arm_contrast")]
    whole = average[average["left_out"].isna()]["mean"].iloc[0]
    odd = (each - whole).abs().idxmax()
    left = average[average["left_out"] == odd].iloc[0]
    assert np.sign(left["moved"]) == -np.sign(each[odd] - whole)
    assert len(answer.plot().axes) >= 1


def test_a_run_of_several_trials_is_read_back(run: al.Run, tmp_path: Path) -> None:
    run.save(tmp_path / "run")
    again = al.load(tmp_path / "run")
    one, other = (each.trials().table for each in (run, again))
    assert one.equals(other)


@pytest.mark.validation
def test_both_engines_have_one_posterior() -> None:
    """Means within 4.5 Monte Carlo errors, of some dozens of numbers."""
    design = made_trials(4, 6, therapists=4, patients=15).design()
    profile = SamplerProfile("ci", chains=2, draws=1000, tune=1000)
    engines: tuple[Engine, ...] = ("instant", "nuts")
    trees = [fit_trials(design, PRIORS, profile, 2, engine=engine)[0] for engine in engines]
    names = ["beta", "trial_beta", "trial_residual_sd", "therapist_sd", "trial_arm_sd",
             "trial_slope_sd", "trial_interaction_sd", "trial_across"]  # fmt: skip
    away = differences(*(tree["posterior"].dataset[names] for tree in trees))
    assert float(away["mean"].abs().max()) < 4.5
