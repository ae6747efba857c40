"""The choices behind a run in words: defaults, every departure, and outcomes that differ."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from alliance.data_prep.errors import InputError
from alliance.data_prep.simulator.from_study import simulate_study
from alliance.data_prep.study.description import Study, narrowed
from alliance.data_prep.study.parts import ModelSettings
from alliance.data_prep.trial.trial import trial_from_frame
from alliance.inference.runs.choices import Choice, model_choices
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.fitting import fit_trial
from alliance.inference.sampling.profiles import find_profile
from alliance.models.families.families import FAMILIES
from alliance.models.priors import Priors
from alliance.models.spec import specify

DEFAULTS = {
    "likelihood": "Gaussian, as published",
    "therapist effects": "intercept and slope",
    "arm effects": "the same for all therapists",
    "residual SD": "one for all arms",
    "alliance": "total",
    "alliance slope": "differs between arms",
    "missing alliance": "patients left out",
    "alliance ratings": "taken as they are",
    "outcomes": "one at a time",
    "patients": "of each outcome by itself",
    "unseen outcomes": "missing at random given the model",
    "priors": "default",
}


def fitted(fit: Fit, **settings: Any) -> Fit:
    """The fit under a study with other settings; its draws are not looked at."""
    study = narrowed(fit.study, **settings)
    return replace(fit, study=study, specs=specify(study))


def departures(fit: Fit) -> dict[str, str]:
    return {choice.aspect: choice.words for choice in model_choices(fit) if not choice.default}


def test_defaults_are_all_told_and_none_departs(made_fit: Fit) -> None:
    choices = model_choices(made_fit)
    assert {choice.aspect: choice.words for choice in choices} == DEFAULTS
    assert all(choice.default for choice in choices)
    assert str(choices[0]) == "likelihood: Gaussian, as published"


# option, value: what departs, in which words. The study's outcomes are function (beta-binomial by
# its own family) and gpe (ordinal); its reliability is 0.77, the alliance's range 16 to 112.
SETTINGS: dict[str, tuple[Any, str, str]] = {
    "likelihood": (
        "native",
        "likelihood",
        "each outcome's own family, beta-binomial (function), ordinal (gpe)",
    ),
    "therapist": ("intercept", "therapist effects", "intercept"),
    "interaction": (False, "alliance slope", "the same in all arms"),
    "alliance": ("within_between", "alliance", "within and between therapists"),
    "between_interaction": (
        True,
        "alliance",
        "within and between therapists, both slopes by arm",
    ),
    "missing_alliance": ("impute", "missing alliance", "imputed inside the model"),
    "reliability": (True, "alliance ratings", "true score plus noise, reliability 0.77"),
    "ceiling": (True, "alliance ratings", "cut off at the ceiling 112"),
    "therapist_by_arm": (True, "arm effects", "vary between therapists"),
    "without_therapist": (
        ("GE",),
        "therapist effects",
        "intercept and slope, in the arms that have therapists (not GE)",
    ),
    "residual_by_arm": (True, "residual SD", "one for each arm"),
    "joint": (True, "outcomes", "all in one model"),
    "common_patients": (True, "patients", "those with all outcomes"),
    "moderator_arms": (("MCE", "SMT"), "alliance", "total, of patients of MCE, SMT alone"),
}
# Of outcomes over time alone
OVER_TIME: dict[str, Any] = {
    "visit_correlation": "ar1",
    "visit_sd": "common",
    "baseline_by_visit": False,
    "moderator_by_visit": False,
    "interaction_by_visit": False,
    "covariates_by_visit": True,
    "therapist_by_visit": True,
}
# Of studies with clinics (tested by the last test), and of several trials in one model, alone
ELSEWHERE = ("clinic", "several_trials", "residual_by_trial")


@pytest.mark.parametrize(
    "setting", [key for key in ModelSettings.model_fields if key not in (*OVER_TIME, *ELSEWHERE)]
)
def test_every_setting_is_seen_where_it_departs(setting: str, made_fit: Fit) -> None:
    """Each in one place alone; a setting that is added without words here fails."""
    value, aspect, words = SETTINGS[setting]
    needed = {"alliance": "within_between"} if setting == "between_interaction" else {}
    changed = fitted(made_fit, **needed, **{setting: value})
    # An arm without therapists has a residual SD of its own
    also = {"residual SD": "one of its own in GE"} if setting == "without_therapist" else {}
    assert departures(changed) == {aspect: words, **also}
    assert [choice.aspect for choice in model_choices(changed)] == list(DEFAULTS)
    back = fitted(changed, **{key: getattr(ModelSettings(), key) for key in (*needed, setting)})
    assert departures(back) == {}


def test_the_values_that_no_other_test_has(made_fit: Fit) -> None:
    assert departures(fitted(made_fit, therapist="none")) == {"therapist effects": "none"}
    both = departures(fitted(made_fit, reliability=True, ceiling=True))
    assert both == {
        "alliance ratings": "true score plus noise, reliability 0.77 and cut off at the ceiling 112"
    }


def test_own_families_that_are_gaussian_depart_too(made_fit: Fit) -> None:
    """They were asked for, though nothing else comes of it."""
    outcomes = {
        name: outcome.model_copy(update={"family": "gaussian"})
        for name, outcome in made_fit.study.outcomes.items()
    }
    study = made_fit.study.model_copy(update={"outcomes": outcomes})
    changed = fitted(replace(made_fit, study=study), likelihood="native")
    assert departures(changed) == {"likelihood": "each outcome's own family, Gaussian"}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_words(family: str, made_fit: Fit) -> None:
    specs = {name: replace(spec, family=family) for name, spec in made_fit.specs.items()}
    [told, *_] = model_choices(replace(made_fit, specs=specs))
    assert family.split("_")[0] in told.words.lower()
    assert "_" not in told.words


def test_outcomes_that_differ_are_told_apart(made_fit: Fit) -> None:
    specs = made_fit.specs | {
        "gpe": replace(made_fit.specs["gpe"], therapist="none", priors=Priors(moderator_slope=0.5))
    }
    assert departures(replace(made_fit, specs=specs)) == {
        "therapist effects": "intercept and slope (function), none (gpe)",
        "priors": "default (function), default but for moderator_slope 0.5 (gpe)",
    }


def test_shifts_of_unseen_outcomes_are_told_with_their_patients(made_fit: Fit) -> None:
    delta = {"function": {"SMT": -2, "GE": 0, "MCE": 1.5}, "gpe": {"GE": -0.25}}
    counts = {
        "function": {
            "GE": {"eligible": 30, "unseen": 1},
            "MCE": {"eligible": 25, "unseen": 0},
            "SMT": {"eligible": 28, "unseen": 6},
        },
        "gpe": {arm: {"eligible": 20, "unseen": 3} for arm in ("GE", "MCE", "SMT")},
    }
    changed = fitted(made_fit, delta=delta)
    changed = replace(changed, manifest=changed.manifest | {"missing_outcomes": counts})
    assert departures(changed) == {
        "unseen outcomes": "missing at random, in arm_contrast_delta shifted: function in MCE by "
        "+1.5 (0 of 25 patients unseen), SMT by -2 (6 of 28 patients unseen); gpe in GE by -0.25 "
        "(3 of 20 patients unseen)"
    }
    assert departures(fitted(made_fit, delta={"gpe": {"GE": 0}})) == {}
    del changed.manifest["missing_outcomes"]
    with pytest.raises(InputError, match="holds no counts"):
        model_choices(changed)


def test_a_choice_is_a_sentence_without_its_verb() -> None:
    assert str(Choice("alliance", "total", True)) == "alliance: total"


@pytest.mark.parametrize("setting", OVER_TIME)
def test_every_setting_of_visits_is_seen_where_it_departs(setting: str, made_fit: Fit) -> None:
    """Outcomes at two visits stand for one over time; draws are not looked at."""
    outcomes = {
        name: outcome.model_copy(update={"visit_of": "score", "visit": name, "family": "gaussian"})
        for name, outcome in made_fit.study.outcomes.items()
    }
    over_time = replace(made_fit, study=made_fit.study.model_copy(update={"outcomes": outcomes}))
    plain = fitted(over_time)
    assert "visits" not in departures(plain)
    [usual] = [each.words for each in model_choices(plain) if each.aspect == "visits"]
    told = departures(fitted(over_time, **{setting: OVER_TIME[setting]}))["visits"]
    assert told != usual or setting == "covariates_by_visit"  # the study has no covariates


def test_what_several_trials_share_is_told(made_fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fit, "several_trials", property(lambda self: True))
    told = departures(fitted(made_fit, several_trials="varying"))
    assert "vary around an average trial" in told["trials"]
    assert "residual SDs" in told["trials"]
    assert told["residual SD"] == "one for each trial"
    shared = departures(fitted(made_fit, several_trials="fixed", residual_by_trial=False))
    assert "the same in all" in shared["trials"]
    assert "residual SD" not in {*shared, *shared["trials"].split(", ")}


@pytest.fixture(scope="module")
def fit_in_clinics() -> Fit:
    """A simulated trial whose 12 therapists work in four clinics, by the instant engine."""
    study = Study.model_validate(
        {
            "title": "Clinics",
            "columns": {"patient": "id", "therapist": "who", "clinic": "centre", "arm": "arm"},
            "arms": {"A": "Therapy A", "B": "Therapy B"},
            "moderator": {"label": "Alliance", "column": "wai", "range": [12, 84]},
            "outcomes": {
                name: {"label": name, "followup": name, "range": [0, 100], "better": "lower"}
                for name in ("pain", "fear")
            },
        }
    )
    made = simulate_study(study, seed=2, patients=80, therapists=12)
    trial = trial_from_frame(made.study, made.frame, "simulated.csv")
    return fit_trial(trial, find_profile("ci"), seed=1, engine="instant")


def test_what_varies_between_clinics_is_told(fit_in_clinics: Fit) -> None:
    """Right behind the therapists; an intercept is what a study with clinics gets unasked."""
    choices = model_choices(fit_in_clinics)
    told = {choice.aspect: choice.words for choice in choices}
    usual = list(DEFAULTS)
    behind = usual.index("therapist effects") + 1
    assert list(told) == [*usual[:behind], "clinic effects", *usual[behind:]]
    assert told["clinic effects"] == "intercept"
    assert departures(fit_in_clinics) == {}
    for setting, words in (("none", "none"), ("intercept+slope", "intercept and slope")):
        assert departures(fitted(fit_in_clinics, clinic=setting)) == {"clinic effects": words}
    specs = fit_in_clinics.specs
    apart = specs | {"fear": replace(specs["fear"], clinic="none")}
    assert departures(replace(fit_in_clinics, specs=apart)) == {
        "clinic effects": "intercept (pain), none (fear)"
    }
