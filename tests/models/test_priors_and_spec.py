"""Priors and specifications: what a study file may say, and what is made of it."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest

from alliance.data_prep.errors import InputError
from alliance.data_prep.study.description import Study, bundled_studies, narrowed, read_study
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec, specify

# The scales in words of the study's documentation: half-normal 0.25 to 0.3 for therapists, slope
# 0.3, arms 0.5, alliance by arm 0.2 to 0.3.
DOCUMENTED = {"moderator_slope": 0.3, "arm": 0.5, "interaction": 0.25, "therapist_sd": 0.3}


def a_study(**changes: object) -> Study:
    study = read_study(bundled_studies()["ferreira2013"])
    return Study.model_validate(study.model_dump() | changes)


def test_default_scales_are_the_documented_ones() -> None:
    assert {name: getattr(Priors(), name) for name in DOCUMENTED} == DOCUMENTED


def test_every_prior_can_be_overridden_alone() -> None:
    for field in fields(Priors):
        changed = Priors.with_overrides({field.name: 0.77})
        assert changed == replace(Priors(), **{field.name: 0.77})
        assert changed != Priors()


def test_no_override_leaves_the_defaults() -> None:
    assert Priors.with_overrides({}) == Priors()


def test_an_unknown_prior_is_refused_with_the_nearest_and_all_names() -> None:
    with pytest.raises(InputError) as caught:
        Priors.with_overrides({"moderater_slope": 0.3})
    assert "'moderater_slope'" in str(caught.value)
    assert "Did you mean" in str(caught.value)
    for field in fields(Priors):
        assert field.name in str(caught.value)


@pytest.mark.parametrize("scale", [0.0, -0.3, float("nan"), float("inf")])
def test_a_scale_that_is_no_positive_number_is_refused(scale: float) -> None:
    with pytest.raises(InputError, match=r"arm = \S+ is not a positive number"):
        Priors.with_overrides({"arm": scale})


@pytest.mark.parametrize(
    ("therapist", "effects"),
    [
        ("none", ()),
        ("intercept", ("intercept",)),
        ("intercept+slope", ("intercept", "slope")),
    ],
)
def test_effects_between_therapists(therapist: str, effects: tuple[str, ...]) -> None:
    study = narrowed(a_study(), therapist=therapist)
    assert [spec.effects for spec in specify(study).values()] == [effects] * 4


def test_an_unknown_therapist_setting_is_refused_with_the_known_ones() -> None:
    for ask in (
        lambda: ModelSpec("pain", "slope"),  # type: ignore[arg-type]  # wrong on purpose
        lambda: narrowed(a_study(), therapist="slope"),
    ):
        with pytest.raises(InputError) as caught:
            ask()
        assert "'slope'" in str(caught.value)
        assert "none, intercept, intercept+slope" in str(caught.value)


def test_every_outcome_has_a_specification_in_the_studys_order() -> None:
    study = a_study()
    assert list(specify(study)) == ["function", "gpe", "pain", "disability"]
    assert specify(narrowed(study, outcomes=["pain", "gpe"])).keys() == {"gpe", "pain"}


def test_by_default_slopes_vary_between_therapists_and_differ_between_arms() -> None:
    for name, spec in specify(a_study()).items():
        assert spec == ModelSpec(name, "intercept+slope", True, Priors())


def test_the_study_file_decides_and_the_caller_overrides() -> None:
    study = a_study(
        model={"therapist": "intercept", "interaction": False}, priors={"interaction": 0.1}
    )
    priors = replace(Priors(), interaction=0.1)
    assert specify(study)["gpe"] == ModelSpec("gpe", "intercept", False, priors)
    other = narrowed(study, therapist="none", interaction=True)
    assert specify(other)["gpe"] == ModelSpec("gpe", "none", True, priors)


def test_a_prior_of_the_study_file_with_an_unknown_name_is_refused() -> None:
    with pytest.raises(InputError, match="no prior 'sigma'"):
        specify(a_study(priors={"sigma": 1.0}))


def test_a_specification_survives_the_manifest() -> None:
    spec = ModelSpec("pain", "intercept", False, Priors(arm=0.4))
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_specifications_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        ModelSpec("pain").outcome = "gpe"  # type: ignore[misc]  # frozen: must raise
