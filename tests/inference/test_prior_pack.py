"""A prior from the prior pack: a mixture, in both engines, that yields where data conflict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

import alliance as al
from alliance.data_prep.errors import InputError
from alliance.data_prep.study.description import read_study, study_text
from alliance.inference.priors.evidence import evidence_kept
from alliance.models.prior_pack import prior_pack
from alliance.models.priors import InformedPriors, Priors, SlopeEvidence, slope_log_density
from alliance.models.spec import ModelSpec, specify

INFORMED = '\n[priors]\nmoderator_slope = {{ from = "{entry}", weight = {weight} }}\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pack")
    al.simulate(patients=120, therapists=6, seed=4).save(place / "trial.csv")
    return place


def studied(folder: Path, entry: str = "fluckiger2018", weight: float = 0.8) -> al.Study:
    """The study with a prior from the pack."""
    text = (folder / "study.toml").read_text(encoding="utf-8")
    path = folder / f"{entry}_{weight}.toml"
    path.write_text(text + INFORMED.format(entry=entry, weight=weight), encoding="utf-8")
    return al.study(path)


def fitted(study: al.Study, folder: Path, **asked: Any) -> al.Run:
    settings = {"engine": "instant", "seed": 3, "progress": False, "outcome": "gpe"} | asked
    return al.fit(study.read(folder / "trial.csv"), **settings)


def slopes(run: al.Run) -> np.ndarray:
    return run["gpe"].draws["beta"].sel(coefficient="moderator").to_numpy().ravel()


def test_every_entry_says_where_it_is_from() -> None:
    pack = prior_pack()
    assert {"fluckiger2018", "johns2019_trials", "lewis2010", "lawford2021"} < set(pack)
    for entry in pack.values():
        assert entry.source
        assert entry.known_by == "abstract"
    # 0.256 to 0.299 is 0.0110 to either side in SEs; the SD between studies is assumed
    assert pack["fluckiger2018"].error == pytest.approx(0.043 / 2 / 1.96, rel=1e-4)
    assert pack["fluckiger2018"].heterogeneity is None


def test_the_slope_has_the_sign_of_a_benefit_and_the_study_reads_back(folder: Path) -> None:
    study = studied(folder)
    specs = specify(study.description)
    assert specs["gpe"].priors.slope == SlopeEvidence(
        "fluckiger2018", 0.278, pytest.approx(np.hypot(0.01097, 0.15), abs=1e-4), 0.8
    )
    assert specs["pain"].priors.slope.location == -0.278  # lower is better
    again = folder / "again.toml"
    again.write_text(study_text(study.description), encoding="utf-8")
    assert specify(read_study(again)) == specs
    assert ModelSpec.from_dict(specs["gpe"].to_dict()) == specs["gpe"]


def test_the_density_is_the_mixture() -> None:
    priors = InformedPriors(known=SlopeEvidence("x", 0.3, 0.1, 0.7))
    at = np.array([-0.5, 0.0, 0.3])
    wanted = 0.7 * stats.norm.pdf(at, 0.3, 0.1) + 0.3 * stats.norm.pdf(at, 0, 0.3)
    assert np.exp(slope_log_density(priors, at)) == pytest.approx(wanted)
    assert integrate.quad(lambda x: float(np.exp(slope_log_density(priors, np.array(x)))), -3, 3)[
        0
    ] == pytest.approx(1)
    assert Priors().slope is None


def test_the_posterior_is_the_likelihood_times_the_mixture(folder: Path) -> None:
    """Against draws under the default prior, reweighted by the two densities."""
    plain = fitted(al.study(folder), folder, profile="publication")
    informed = fitted(studied(folder), folder, profile="publication")
    priors = informed["gpe"].posterior.priors
    own = slopes(plain)
    weights = np.exp(slope_log_density(priors, own)) / stats.norm.pdf(own, 0, 0.3)
    weights /= weights.sum()
    mean = weights @ own
    sd = np.sqrt(weights @ (own - mean) ** 2)
    error = sd * np.sqrt((weights**2).sum() + 1 / 20_000)
    made = slopes(informed)
    assert abs(made.mean() - mean) < 4 * error
    assert made.std() == pytest.approx(sd, rel=0.05)
    kept = evidence_kept(informed["gpe"].posterior)
    assert kept is not None
    part = 0.8 * stats.norm.pdf(own, priors.slope.location, priors.slope.spread)
    assert kept.weight == pytest.approx(
        (weights * part / np.exp(slope_log_density(priors, own))).sum(), abs=0.02
    )


@pytest.mark.mcmc
def test_both_engines_draw_from_the_same_posterior(folder: Path) -> None:
    study = studied(folder)
    instant, nuts = fitted(study, folder), fitted(study, folder, engine="nuts")
    one, other = slopes(instant), slopes(nuts)
    error = np.sqrt(one.var() / 3000 + other.var() / 2000)
    assert abs(one.mean() - other.mean()) < 4 * error
    assert one.std() == pytest.approx(other.std(), rel=0.08)


def test_evidence_that_the_data_contradict_loses_its_weight(folder: Path, tmp_path: Path) -> None:
    """The slope of pain is negative: evidence of the other sign gives way to the vague part."""
    trial = al.simulate(patients=700, therapists=10, seed=4)
    trial.save(tmp_path / "large.csv")
    text = (folder / "study.toml").read_text(encoding="utf-8")
    turned = text.replace('better = "lower"', 'better = "higher"')
    path = folder / "turned.toml"
    entry = INFORMED.format(entry="fluckiger2018", weight=0.8)
    path.write_text(turned + entry, encoding="utf-8")
    run = al.fit(
        al.study(path).read(tmp_path / "large.csv"),
        outcome="pain",
        engine="instant",
        seed=1,
        progress=False,
    )
    kept = evidence_kept(run["pain"].posterior)
    assert kept is not None
    assert kept.conflict
    assert kept.weight < 0.5
    assert "conflict" in run.summary()._repr_html_()


def test_priors_are_told_and_choices_name_the_entry(folder: Path) -> None:
    run = fitted(studied(folder), folder)
    table = run.priors().table
    row = table[(table["quantity"] == "moderator_slope") & (table["level"] == "average")].iloc[0]
    assert row["distribution"] == "mixture"
    # mean 0.8 * 0.278 SDs of the outcome for one of the alliance
    design = run["gpe"].posterior.design
    unit = design.scaling.outcome[1] / design.scaling.moderator[1]
    assert row["location"] == pytest.approx(0.8 * 0.278 * unit)
    plain = fitted(al.study(folder), folder).priors().table
    same = plain["quantity"] == "arm_contrast"
    assert table[same]["scale"].tolist() == plain[same]["scale"].tolist()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('moderator_slope = { from = "fluckiger2081" }', "no entry 'fluckiger2081'"),
        ('moderator_slope = { from = "lewis2010" }', "which is of therapist_share"),
        ('moderator_slope = { from = "lawford2021" }', "points of pain"),
        ('interaction = { from = "fluckiger2018" }', "interaction cannot be taken"),
        ('moderator_slope = { from = "fluckiger2018", weight = 1.0 }', "weight"),
        ('moderator_slope = { from = "fluckiger2018", wieght = 0.5 }', "wieght"),
        ("moderator_slope = { from = 3 }", "no name of the prior pack"),
    ],
)
def test_what_the_pack_cannot_give_is_refused(line: str, said: str, folder: Path) -> None:
    text = (folder / "study.toml").read_text(encoding="utf-8")
    path = folder / "bad.toml"
    path.write_text(f"{text}\n[priors]\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError) as refused:
        specify(al.study(path).description)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "model", [{"joint": True}, {"alliance": "within_between"}, {"missing_alliance": "impute"}]
)
def test_models_without_a_place_for_it_refuse_it(model: dict[str, Any], folder: Path) -> None:
    with pytest.raises(InputError, match="goes with a Gaussian outcome by itself"):
        specify(studied(folder).choose(model=model).description)
