"""Published findings: what the bundled files state, how files are read, how verdicts are worded."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from alliance.data_prep.errors import InputError
from alliance.data_prep.study.description import Study, bundled_studies, read_study
from alliance.inference.published.findings import Finding, verdict
from alliance.inference.published.published import published_frame, read_published, valid_levels

# Every number that may appear as published, typed from the list of published facts.
NUMBERS = {
    ("ferreira2013", "function", "arm_contrast", "MCE-GE"): (2.9, 0.9, 4.8, None),
    ("ferreira2013", "function", "arm_contrast", "SMT-GE"): (2.3, 0.4, 4.2, None),
    ("ferreira2013", "gpe", "arm_contrast", "MCE-GE"): (1.7, 0.9, 2.4, None),
    ("ferreira2013", "gpe", "arm_contrast", "SMT-GE"): (1.2, 0.4, 2.0, None),
    ("headache", "headache_12m", "arm_contrast", "1-0"): (4.6, 2.2, 7.0, 0.0002),
    ("headache", "headache_3m", "arm_contrast", "1-0"): (3.9, 1.6, 6.3, None),
    ("headache", "headache_12m", "interaction", "1-0"): (None, None, None, 0.004),
}
NUMBERS |= {  # the same trial, with its visits in one model
    ("headache_over_time", *key[1:]): own for key, own in NUMBERS.items() if key[0] == "headache"
}
NUMBERS |= {
    ("ferreira2013_over_time", f"{key[1]}_8w", *key[2:]): own
    for key, own in NUMBERS.items()
    if key[0] == "ferreira2013"
}
OUTCOMES = ("function", "gpe", "pain", "disability")


def bundled(name: str) -> tuple[Study, tuple[Finding, ...]]:
    path = bundled_studies()[name]
    study = read_study(path)
    return study, read_published(path.with_name("published.toml"), study)


class TestBundledFindings:
    def test_every_number_is_published_and_every_published_number_is_there(self) -> None:
        found = {
            (name, finding.outcome, finding.quantity, finding.level): (
                finding.estimate,
                finding.lower,
                finding.upper,
                finding.p,
            )
            for name in bundled_studies()
            for finding in bundled(name)[1]
            if (finding.estimate, finding.lower, finding.upper, finding.p) != (None,) * 4
        }
        assert found == NUMBERS

    def test_ferreira2013_has_16_findings_of_2013_and_4_numbers_of_2007(self) -> None:
        _, findings = bundled("ferreira2013")
        papers = Counter(
            "2013" if "10.2522/ptj.20120137" in finding.source else "2007" for finding in findings
        )
        assert papers == {"2013": 16, "2007": 4}
        assert {finding.known_by for finding in findings} == {"abstract"}
        for finding in findings:
            is_number = finding.claim == "number"
            assert ("10.1016/j.pain.2006.12.008" in finding.source) == is_number
            assert finding.rope is None  # never a default

    def test_ferreira2013_states_alliance_as_predictor_of_all_four(self) -> None:
        _, findings = bundled("ferreira2013")
        stated = [(f.outcome, f.claim) for f in findings if f.quantity == "moderator_slope"]
        assert stated == [(name, "present") for name in OUTCOMES]

    def test_ferreira2013_states_moderation_of_gpe_for_mce_against_both_others(self) -> None:
        _, findings = bundled("ferreira2013")
        stated = {(f.outcome, f.level): f.claim for f in findings if f.quantity == "interaction"}
        present = {("gpe", "MCE-GE"), ("gpe", "SMT-MCE")}
        assert stated == {
            (name, level): "present" if (name, level) in present else "absent"
            for name in OUTCOMES
            for level in ("MCE-GE", "SMT-GE", "SMT-MCE")
        }

    def test_ferreira2013_leaves_room_for_the_numbers_of_each_statement(
        self, tmp_path: Path
    ) -> None:
        path = bundled_studies()["ferreira2013"]
        text = path.with_name("published.toml").read_text(encoding="utf-8")
        for key in ("estimate", "lower", "upper", "p"):
            assert text.count(f"\n# {key} =\n") == 16
        filled = text
        for key, value in {"estimate": 0.5, "lower": 0.1, "upper": 0.9, "p": 0.02}.items():
            filled = filled.replace(f"\n# {key} =\n", f"\n{key} = {value}\n")
        (tmp_path / "published.toml").write_text(filled, encoding="utf-8")
        findings = read_published(tmp_path / "published.toml", read_study(path))
        assert sum(finding.p == 0.02 and finding.upper == 0.9 for finding in findings) == 16

    def test_headache_contrast_is_minus_4_6_on_the_scores_own_scale(self) -> None:
        study, findings = bundled("headache")
        printed = next(f for f in findings if f.level == "1-0" and f.estimate == 4.6)
        turned = printed.as_difference(study.outcomes[printed.outcome].better)
        assert (turned.estimate, turned.lower, turned.upper) == (-4.6, -7.0, -2.2)


ENTRY = """
[[finding]]
outcome = "gpe"
quantity = "interaction"
level = "MCE-GE"
claim = "present"
known_by = "abstract"
source = "a paper"
"""


def read(tmp_path: Path, text: str) -> tuple[Finding, ...]:
    path = tmp_path / "published.toml"
    path.write_text(text, encoding="utf-8")
    return read_published(path, read_study(bundled_studies()["ferreira2013"]))


class TestReading:
    @pytest.mark.parametrize(
        ("text", "named"),
        [
            (ENTRY.replace('"gpe"', '"gep"'), r"finding 1, outcome.*'gep'.*'gpe'"),
            (ENTRY.replace('"interaction"', '"moderation"'), r"finding 1, quantity.*'interaction'"),
            (ENTRY.replace("MCE-GE", "GE-MCE"), r"'MCE-GE', 'SMT-GE', 'SMT-MCE'"),
            (ENTRY.replace('"interaction"', '"residual_sd"'), r"Leave the level out"),
            (ENTRY.replace('"interaction"', '"covariate_slope"'), r"no covariates"),
            (ENTRY.replace("known_by", "knownby"), r"'known_by'"),
            (ENTRY.replace("source =", "# source ="), r"source: this key is missing"),
            (ENTRY.replace('"present"', '"yes"'), r"claim"),
            (ENTRY.replace('"present"', '"number"'), r"needs an estimate"),
            (ENTRY + 'estimate = "0.5"', r"estimate"),
            (ENTRY + "estimate = true", r"estimate"),
            (ENTRY + "estimate = nan", r"estimate"),
            (ENTRY + "lower = 0.1\nupper = 0.9", r"needs its estimate"),
            (ENTRY + "estimate = 0.5\nlower = 0.1", r"go together"),
            (ENTRY + "estimate = 0.5\nlower = 0.6\nupper = 0.9", r"between lower and upper"),
            (ENTRY + "p = 1.2", r"finding 1, p"),
            (ENTRY + "rope = [-0.1, 0.1]", r"only the claim .absent."),
            (ENTRY.replace("present", "absent") + "rope = [0.1, -0.1]", r"low below high"),
            (ENTRY + ENTRY, r"finding 2: repeats finding 1"),
            (ENTRY.replace("[[finding]]", "[[findings]]"), r"Did you mean 'finding'"),
            ('title = "none"', r"no \[\[finding\]\] table"),
            ("finding = 3", r"no \[\[finding\]\] table"),
            ("finding = [3]", r"finding 1"),
            (ENTRY + "[rope.gep]\ninteraction = [-1, 1]", r"rope.*'gep'"),
            (ENTRY + "[rope.gpe]\nmoderation = [-1, 1]", r"rope\.gpe.*'interaction'"),
            (ENTRY + "[rope.gpe]\ninteraction = [1, -1]", r"rope\.gpe\.interaction"),
            (ENTRY + "[rope]\ngpe = 3", r"rope\.gpe"),
            ("rope = 3\n" + ENTRY, r"rope: this must be a table"),
            (ENTRY.replace('"gpe"', "gpe"), r"published\.toml, line 3"),
            ("", r"empty"),
        ],
    )
    def test_faults_are_named(self, tmp_path: Path, text: str, named: str) -> None:
        with pytest.raises(InputError, match=named):
            read(tmp_path, text)

    def test_missing_file_is_named(self, tmp_path: Path) -> None:
        study = read_study(bundled_studies()["headache"])
        with pytest.raises(InputError, match=r"published\.toml"):
            read_published(tmp_path / "published.toml", study)

    def test_all_faults_come_at_once(self, tmp_path: Path) -> None:
        text = ENTRY.replace('"gpe"', '"gep"') + ENTRY.replace("MCE-GE", "GE")
        with pytest.raises(InputError, match=r"2 faults") as caught:
            read(tmp_path, text)
        assert "finding 1" in str(caught.value)
        assert "finding 2" in str(caught.value)

    def test_rope_table_serves_absent_findings_without_their_own(self, tmp_path: Path) -> None:
        absent = ENTRY.replace("present", "absent")
        own = absent.replace("MCE-GE", "SMT-GE") + "rope = [-3, 3]\n"
        other = absent.replace("gpe", "pain")
        present = ENTRY.replace("MCE-GE", "SMT-MCE")
        table = "[rope.gpe]\ninteraction = [-1, 2]\n"
        found = [finding.rope for finding in read(tmp_path, absent + own + other + present + table)]
        assert found == [(-1, 2), (-3, 3), None, None]

    def test_rope_table_is_on_the_outcomes_scale(self, tmp_path: Path) -> None:
        text = ENTRY.replace("present", "absent").replace("gpe", "pain") + 'oriented = "benefit"\n'
        (finding,) = read(tmp_path, text + "[rope.pain]\ninteraction = [-1, 2]\n")
        assert finding.as_difference("lower").rope == (-1, 2)

    def test_levels_of_each_quantity(self) -> None:
        study = read_study(bundled_studies()["headache"])
        assert valid_levels(study, "arm_contrast") == ("1-0",)
        assert valid_levels(study, "moderator_slope") == ("average", "within", "between", "0", "1")
        assert valid_levels(study, "covariate_slope") == study.covariates
        assert valid_levels(study, "residual_sd") == ("",)

    def test_a_category_of_a_covariate_is_a_level(self, tmp_path: Path) -> None:
        study = read_study(bundled_studies()["headache"])
        text = ENTRY.replace("gpe", "headache_3m").replace("interaction", "covariate_slope")
        (tmp_path / "published.toml").write_text(text.replace("MCE-GE", "sex[1]"), encoding="utf-8")
        (finding,) = read_published(tmp_path / "published.toml", study)
        assert finding.level == "sex[1]"


def finding(claim: str, **numbers: object) -> Finding:
    return Finding.model_validate(
        {
            "outcome": "gpe",
            "quantity": "interaction",
            "level": "MCE-GE",
            "claim": claim,
            "known_by": "abstract",
            "source": "a paper",
            **numbers,
        }
    )


class TestOrientation:
    def test_benefit_is_turned_where_lower_is_better(self) -> None:
        printed = finding("number", oriented="benefit", estimate=4.6, lower=2.2, upper=7.0)
        turned = printed.as_difference("lower")
        assert (turned.estimate, turned.lower, turned.upper) == (-4.6, -7.0, -2.2)
        assert turned.oriented == "difference"
        assert turned.as_difference("lower") == turned

    def test_benefit_is_the_difference_where_higher_is_better(self) -> None:
        printed = finding("number", oriented="benefit", estimate=4.6, lower=2.2, upper=7.0)
        same = printed.as_difference("higher")
        assert (same.estimate, same.lower, same.upper) == (4.6, 2.2, 7.0)
        assert same.oriented == "difference"

    def test_region_turns_with_the_numbers(self) -> None:
        printed = finding("absent", oriented="benefit", rope=[-1.0, 2.0])
        assert printed.as_difference("lower").rope == (-2.0, 1.0)

    def test_a_spread_has_no_benefit(self) -> None:
        with pytest.raises(ValueError, match="benefit"):
            finding("present", quantity="residual_sd", level="", oriented="benefit")


class TestVerdict:
    @pytest.mark.parametrize(
        ("published", "lower", "upper", "word"),
        [
            (finding("present"), 0.1, 0.9, "supported"),
            (finding("present"), -0.9, -0.1, "supported"),
            (finding("present"), -0.1, 0.9, "undetermined"),
            (finding("present"), 0.0, 0.9, "undetermined"),
            (finding("present", estimate=0.4), 0.1, 0.9, "supported"),
            (finding("present", estimate=-0.4), 0.1, 0.9, "contradicted"),
            (finding("present", estimate=0.4), -0.9, -0.1, "contradicted"),
            (finding("present", estimate=-0.4), -0.1, 0.9, "undetermined"),
            (finding("absent"), -0.1, 0.9, "undetermined"),
            (finding("absent"), 0.1, 0.9, "not supported"),
            (
                finding("absent", rope=[-1.0, 1.0]),
                0.1,
                0.9,
                "supported (practically equivalent)",
            ),
            (finding("absent", rope=[-1.0, 1.0]), 0.1, 1.1, "undetermined"),
            (finding("absent", rope=[-1.0, 1.0]), -0.1, 1.1, "undetermined"),
            (finding("absent", rope=[-1.0, 1.0]), 1.1, 1.9, "not supported"),
            (finding("number", estimate=2.9, lower=0.9, upper=4.8), 1.0, 3.0, "agrees"),
            (finding("number", estimate=2.9, lower=0.9, upper=4.8), 3.0, 5.0, "undetermined"),
            (finding("number", estimate=2.9, lower=0.9, upper=4.8), 5.0, 6.0, "differs"),
            (finding("number", estimate=2.9, lower=0.9, upper=4.8), -1.0, 0.5, "differs"),
            (finding("number", estimate=2.9), 5.0, 6.0, "undetermined"),
        ],
    )
    def test_words(self, published: Finding, lower: float, upper: float, word: str) -> None:
        middle = (lower + upper) / 2
        result = verdict(published, lower=lower, upper=upper, estimate=middle, better="higher")
        assert result.word == word
        assert f"{lower:.3g} to {upper:.3g}" in result.explanation
        assert "95%" in result.explanation
        assert "no effect" not in result.explanation
        assert result.explanation.endswith(".")
        assert result.explanation.count(". ") == 0

    @pytest.mark.parametrize(
        "quantity", ["therapist_sd", "therapist_slope_sd", "therapist_icc", "residual_sd"]
    )
    @pytest.mark.parametrize("claim", ["present", "absent"])
    def test_of_what_cannot_be_negative_zero_says_nothing(self, quantity: str, claim: str) -> None:
        """Positive draws exclude zero, were the SD 0.00002: no evidence for it or against it."""
        for lower, upper in ((1e-6, 4e-5), (0.5, 2.0)):
            result = verdict(
                finding(claim, quantity=quantity, level=""),
                lower=lower,
                upper=upper,
                estimate=(lower + upper) / 2,
                better="higher",
            )
            assert result.word == "undetermined"
            assert "cannot be negative" in result.explanation
            assert "region of practical equivalence" in result.explanation

    def test_a_level_has_its_zero_where_the_scale_has_it(self) -> None:
        published = finding("present", quantity="intercept", level="")
        result = verdict(published, lower=14, upper=16, estimate=15, better="higher")
        assert result.word == "undetermined"
        assert "level of the scores" in result.explanation

    @pytest.mark.parametrize(
        ("claim", "lower", "upper", "word"),
        [
            ("present", 0.6, 1.4, "supported"),
            ("present", 0.1, 0.4, "not supported"),
            ("present", 0.4, 0.6, "undetermined"),
            ("absent", 0.6, 1.4, "not supported"),
            ("absent", 0.1, 0.4, "supported (practically equivalent)"),
            ("absent", 0.4, 0.6, "undetermined"),
        ],
    )
    def test_a_region_decides_on_a_standard_deviation(
        self, claim: str, lower: float, upper: float, word: str
    ) -> None:
        published = finding(claim, quantity="therapist_sd", level="", rope=[0.0, 0.5])
        result = verdict(published, lower=lower, upper=upper, estimate=lower, better="higher")
        assert result.word == word

    def test_a_number_of_a_standard_deviation_is_compared(self) -> None:
        published = finding("number", quantity="residual_sd", level="", estimate=2.0)
        result = verdict(published, lower=1.5, upper=2.5, estimate=2.0, better="higher")
        assert result.word == "agrees"

    @pytest.mark.parametrize(("sign", "side"), [(1, "above"), (-1, "below")])
    def test_a_presence_of_unknown_sign_says_which_was_found(self, sign: int, side: str) -> None:
        lower, upper = sorted((sign * 0.1, sign * 0.9))
        result = verdict(
            finding("present"), lower=lower, upper=upper, estimate=sign * 0.5, better="higher"
        )
        assert result.word == "supported"
        assert f"lies {side} zero" in result.explanation

    @pytest.mark.parametrize(("lower", "upper"), [(3.0, 5.0), (5.0, 6.0)])
    def test_intervals_of_the_same_patients_are_no_test(self, lower: float, upper: float) -> None:
        published = finding("number", estimate=2.9, lower=0.9, upper=4.8)
        result = verdict(published, lower=lower, upper=upper, estimate=lower, better="higher")
        assert "same patients" in result.explanation

    def test_including_zero_shows_neither(self) -> None:
        for claim in ("present", "absent"):
            result = verdict(finding(claim), lower=-1, upper=1, estimate=0, better="higher")
            assert "includes zero, which shows neither presence nor absence" in result.explanation

    def test_probability_is_the_one_given(self) -> None:
        result = verdict(
            finding("present"), lower=1, upper=3, estimate=2, better="higher", probability=0.89
        )
        assert "89%" in result.explanation

    def test_printed_benefit_agrees_with_a_negative_difference(self) -> None:
        printed = finding("number", oriented="benefit", estimate=4.6, lower=2.2, upper=7.0)
        result = verdict(printed, lower=-7.1, upper=-2.2, estimate=-4.6, better="lower")
        assert result.word == "agrees"
        assert "-4.6" in result.explanation
        wrong_way = verdict(printed, lower=2.2, upper=7.1, estimate=4.6, better="lower")
        assert wrong_way.word == "differs"

    def test_interval_out_of_order_is_refused(self) -> None:
        with pytest.raises(ValueError, match="not an interval"):
            verdict(finding("present"), lower=2, upper=1, estimate=1.5, better="higher")


def test_frame_has_a_row_for_each_finding_and_numbers_as_numbers() -> None:
    _, findings = bundled("headache")
    frame = published_frame(findings)
    assert frame["estimate"].tolist()[:2] == [4.6, 3.9]
    assert frame["estimate"].isna().tolist() == [False, False, True]
    assert frame["p"].dtype == float
    assert frame["oriented"].tolist() == ["benefit", "benefit", "difference"]
    region = published_frame([finding("absent", rope=[-1.0, 2.0])])
    assert region[["rope_lower", "rope_upper"]].to_numpy().tolist() == [[-1.0, 2.0]]
    assert published_frame([]).empty
