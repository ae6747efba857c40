"""The encoding: what new patients become, what a level without patients is, and what is kept."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from alliance.data_prep.covariates import Covariate, with_columns_told
from alliance.data_prep.errors import InputError
from alliance.data_prep.study.description import Study
from alliance.data_prep.trial.trial import Trial, trial_from_frame
from alliance.inference.published.refits import refit
from alliance.models.design.design import Design, build_design
from alliance.models.design.encoding import Encoding
from alliance.models.spec import ModelSpec

SITES = ("Aarau", "Bern", "Chur", "Genf")


def site_frame(without: tuple[str, ...] = ()) -> pd.DataFrame:
    """Sixty patients of four sites; those of some sites lack the follow-up."""
    random = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "id": np.arange(60),
            "therapist": np.arange(60) % 5,
            "arm": np.tile(["GE", "SMT"], 30),
            "wai": random.integers(40, 113, 60),
            "psfs_0": random.integers(3, 20, 60),
            "psfs_8": random.normal(15, 3, 60).clip(0, 30),
            "age": random.integers(20, 80, 60),
            "site": random.choice(SITES, 60),
        }
    )
    frame.loc[frame["site"].isin(without), "psfs_8"] = np.nan
    return frame


def site_study() -> Study:
    outcome = {"label": "F", "range": [0, 30], "better": "higher", "baseline": "psfs_0"}
    return Study.model_validate(
        {
            "title": "A trial",
            "columns": {"patient": "id", "therapist": "therapist", "arm": "arm"},
            "arms": {"SMT": "Manipulation", "GE": "Exercise"},
            "moderator": {"label": "Alliance", "column": "wai", "range": [16, 112]},
            "covariates": ["age", "site"],
            "outcomes": {"function": outcome | {"followup": "psfs_8"}},
        }
    )


def site_design(without: tuple[str, ...] = ()) -> tuple[Trial, Design]:
    trial = trial_from_frame(site_study(), site_frame(without))
    return trial, build_design(trial.analysed("function"), ModelSpec("function", "none"))


@pytest.mark.parametrize(
    ("without", "reference", "levels"),
    [
        ((), "Aarau", ("Bern", "Chur", "Genf")),
        (("Chur",), "Aarau", ("Bern", "Genf")),
        (("Aarau",), "Bern", ("Chur", "Genf")),
        (("Aarau", "Bern"), "Chur", ("Genf",)),
        (("Aarau", "Chur"), "Bern", ("Genf",)),
        (("Bern", "Chur", "Genf"), "Aarau", ()),
        (("Aarau", "Bern", "Chur"), "Genf", ()),
    ],
)
def test_levels_without_patients_have_no_coefficient(
    without: tuple[str, ...], reference: str, levels: tuple[str, ...]
) -> None:
    """Least squares through the design says what it says of the table without these patients."""
    trial, design = site_design(without)
    assert design.encoding.levels("site") == (reference, *levels)
    assert len(design.coefficients) == 9  # one shape, whoever is analysed
    table = refit(design)
    own = table[(table["model"] == "ols_main") & (table["quantity"] == "covariate_slope")]
    assert own["level"].tolist() == ["age", *(f"site[{level}]" for level in levels)]
    frame = site_frame(without).dropna(subset=["psfs_8"])
    term = f" + C(site, Treatment('{reference}'))" if levels else ""
    plain = smf.ols(f"psfs_8 ~ psfs_0 + arm + wai + age{term}", frame).fit()
    expected = [plain.params["age"]]
    expected += [plain.params[f"C(site, Treatment('{reference}'))[T.{each}]"] for each in levels]
    np.testing.assert_allclose(own["estimate"], expected, rtol=1e-9)
    assert any("site" in note for note in trial.notes) == bool(without)


def test_the_notes_say_which_level_is_the_reference_instead() -> None:
    trial, _ = site_design(("Aarau", "Chur"))
    assert (
        "Outcome 'function': no analysed patient has the site 'Aarau', 'Chur'; 'Bern' is the "
        "reference in its place." in trial.notes
    )


def test_new_patients_are_encoded_as_the_analysed_ones_were() -> None:
    trial, design = site_design(("Aarau",))
    rows = trial.analysed("function")
    again = design.encoding.matrix(
        rows["arm_index"].values,
        rows["moderator"].values,
        rows["baseline"].values,
        rows["covariates"].values,
    )
    np.testing.assert_array_equal(again, design.X)
    sites = site_frame(("Aarau",)).dropna(subset=["psfs_8"])["site"].tolist()
    np.testing.assert_array_equal(
        design.encoding.encoded("site", sites), rows["covariates"].values[:, 1:]
    )


def test_what_was_never_seen_is_refused_by_name() -> None:
    _, design = site_design(("Chur",))
    for value, problem, remedy in (
        ("bern", "no level 'bern'", "Did you mean 'Bern'? Valid levels: 'Aarau', 'Bern', 'Genf'."),
        ("Chur", "no analysed patient with the level 'Chur'", "'Aarau', 'Bern', 'Genf'"),
    ):
        with pytest.raises(InputError) as refused:
            design.encoding.encoded("site", ["Bern", value])
        assert problem in refused.value.problem
        assert remedy in refused.value.remedy


def test_an_encoding_is_kept_as_plain_values() -> None:
    _, design = site_design(("Aarau",))
    kept = json.loads(json.dumps(design.encoding.to_dict()))
    assert Encoding.from_dict(kept) == design.encoding
    assert kept["covariates"][1] == {"name": "site", "levels": [*SITES], "reference": "Bern"}
    assert kept["observed"]["covariates"][0] == [
        float(site_frame(("Aarau",)).dropna(subset=["psfs_8"])["age"].min()),
        float(site_frame(("Aarau",)).dropna(subset=["psfs_8"])["age"].max()),
    ]


def test_a_run_of_before_says_that_it_does_not_tell_the_reference() -> None:
    trial, _ = site_design()
    rows = trial.analysed("function")
    old = rows.drop_vars([name for name in rows.coords if str(name).startswith("covariate_")])
    told = with_columns_told(old, trial.study.covariates)
    encoding = build_design(told, ModelSpec("function", "none")).encoding
    assert encoding.covariates == (Covariate("age"), Covariate("site", ("", *SITES[1:])))
    np.testing.assert_array_equal(encoding.encoded("site", ["Genf"]), [[0, 0, 1]])
    with pytest.raises(InputError) as refused:
        encoding.encoded("site", ["Aarau"])
    assert "did not keep the level of reference" in refused.value.problem
    assert "fit again" in refused.value.remedy
