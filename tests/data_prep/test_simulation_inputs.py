"""What a simulated trial is made of: every input tagged, published ones true to the papers."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from alliance.data_prep.errors import InputError
from alliance.data_prep.simulator.inputs import ARMS, BUNDLED_INPUTS, OUTCOMES
from alliance.data_prep.simulator.simulation import read_inputs, true_values
from alliance.data_prep.study.description import bundled_studies, read_study

# Every published value of a simulation, typed from the list of published facts.
PUBLISHED = {
    "trial.patients": 240,
    "trial.rated": 182,
    "trial.followup_share": 0.93,
    "trial.arms.GE": 80,
    "trial.arms.MCE": 80,
    "trial.arms.SMT": 80,
    "patient.age_mean": 53.6,
    "patient.men_share": 0.31,
    "outcomes.function.arm_contrast.MCE-GE": 2.9,
    "outcomes.function.arm_contrast.SMT-GE": 2.3,
    "outcomes.gpe.arm_contrast.MCE-GE": 1.7,
    "outcomes.gpe.arm_contrast.SMT-GE": 1.2,
}


def leaves(table: dict[str, Any], place: str = "") -> dict[str, Any]:
    """Inputs by dotted name; whatever is neither a table nor an input is a leaf too."""
    found = {}
    for key, value in table.items():
        name = f"{place}.{key}".lstrip(".")
        if isinstance(value, dict) and "value" not in value:
            found |= leaves(value, name)
        else:
            found[name] = value
    return found


class TestInputs:
    def test_every_value_has_a_tag_and_a_source(self) -> None:
        inputs = leaves(tomllib.loads(BUNDLED_INPUTS.read_text(encoding="utf-8")))
        assert len(inputs) > 50
        for name, given in inputs.items():
            assert set(given) == {"value", "tag", "source"}, name
            assert given["tag"] in {"published", "derived", "assumed"}, name
            assert given["source"].strip(), name

    def test_published_values_are_those_of_the_papers(self) -> None:
        inputs = leaves(tomllib.loads(BUNDLED_INPUTS.read_text(encoding="utf-8")))
        published = {
            name: given["value"] for name, given in inputs.items() if given["tag"] == "published"
        }
        assert published == PUBLISHED

    def test_names_are_those_of_the_bundled_study(self) -> None:
        study = read_study(bundled_studies()["ferreira2013"])
        assert tuple(study.arms) == ARMS
        assert tuple(study.outcomes) == OUTCOMES

    def test_derived_values_follow_from_their_arithmetic(self) -> None:
        inputs = read_inputs()
        # Standard errors of 2007 from the intervals' widths, then per patient.
        for name, widths in {"function": (3.9, 3.8), "gpe": (1.5, 1.6)}.items():
            sds = [width / 2 / 1.97 * np.sqrt(74.4 / 2) for width in widths]
            assert inputs.outcomes[name].residual_sd.value == pytest.approx(np.mean(sds), abs=0.15)
        assert inputs.alliance.mean == pytest.approx(69 / 12 * 16)
        assert inputs.alliance.sd == pytest.approx(12 / 12 * 16)
        assert (inputs.alliance.lowest, inputs.alliance.highest) == (16, 112)

    def test_therapists_hold_their_share_of_the_variance(self) -> None:
        for true in true_values(read_inputs()).values():
            variances = true.therapist_sd**2, true.residual_sd**2
            assert variances[0] / sum(variances) == pytest.approx(0.05)

    @pytest.mark.parametrize(
        ("old", "new", "named"),
        [
            ("age_sd =", "age_spread =", "age_spread"),
            ("age_sd =", "# age_sd =", "age_sd"),
            ('tag = "published"', 'tag = "known"', "tag"),
            ("value = 0.93", "value = 1.93", "followup_share"),
            ("value = 182", "value = 282", "rated"),
            ("[outcomes.gpe]", "[outcomes.gep]", "gep"),
            ("baseline_sd =", "# baseline_sd =", "baseline_sd"),
            ('known" }', 'known"', "simulation.toml, line"),
        ],
    )
    def test_faults_are_named(self, tmp_path: Path, old: str, new: str, named: str) -> None:
        text = BUNDLED_INPUTS.read_text(encoding="utf-8")
        assert old in text
        path = tmp_path / "simulation.toml"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(InputError, match=named):
            read_inputs(path)

    def test_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"inputs\.toml"):
            read_inputs(tmp_path / "inputs.toml")

    def test_population_of_the_alliance_is_that_of_a_large_sample(self) -> None:
        inputs = read_inputs()
        draws = np.random.default_rng(3).normal(inputs.alliance.mean, inputs.alliance.sd, 400_000)
        total = np.clip(np.rint(draws), 16, 112)
        population = inputs.alliance.population()
        assert total.mean() == pytest.approx(population["mean"], abs=4 * 16 / np.sqrt(4e5))
        assert total.std() == pytest.approx(population["sd"], abs=0.1)
        above = norm.sf(111.5, inputs.alliance.mean, inputs.alliance.sd)
        assert population["share_at_ceiling"] == pytest.approx(above)
