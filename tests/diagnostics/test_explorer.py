"""The explorer: its page's numbers are those that commands print, and it holds no patient's row."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import string
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import html5lib
import numpy as np
import pandas as pd
import pytest
from effect_fits import fit_of
from explorer_queries import NODE, Query, cells, differences, lacking, printed, run_scripts
from made_draws import PATIENT_ID
from prediction_examples import therapist_posterior
from scipy import special

import alliance as al
from alliance.data_prep.errors import InputError
from alliance.diagnostics import words
from alliance.diagnostics.explorer.columns import Columns
from alliance.diagnostics.explorer.contents import contents
from alliance.diagnostics.explorer.page import explorer_html
from alliance.diagnostics.sentences import contrast_sentence, found_of, unit_of
from alliance.inference import digits
from alliance.inference.answers.effects import effects_along, effects_table
from alliance.inference.runs.fit import Fit
from alliance.models.spec import ModeratorSpec

needs_node = pytest.mark.skipif(
    NODE is None, reason="node, which runs the page's scripts, is absent"
)
MANY = partial(therapist_posterior, chains=2, draws=60)  # quantiles between neighbours differ
SINGLE = {"95% of single scores", "Single score: P(better)", "Single score: P(by 0.5)"}


GPE = {"outcome": "gpe"}
LATENT = ModeratorSpec(reliability=0.7)
CASES: dict[str, dict[str, Any]] = {
    "gaussian": {},
    "worse when higher": {"better": "lower"},
    "student_t": {"family": "student_t"},
    "beta_binomial": {"family": "beta_binomial"},
    "ordinal": {"family": "ordinal", **GPE},
    "ordinal_probit": {"family": "ordinal_probit", **GPE},
    "without therapists": {"therapist": "none"},
    "slopes alike": {"interaction": False},
    "therapists by arm": {"therapist_by_arm": True},
    "within and between": {"moderator": ModeratorSpec("within_between")},
    "mismeasured": {"moderator": LATENT},
    "mismeasured, bounded": {"moderator": LATENT, "family": "beta_binomial"},
}


@cache
def fit_with(name: str) -> Fit:
    """A small trial's fit of one outcome with given draws."""
    return fit_of(posterior=MANY, **CASES[name])


def queries(fit: Fit) -> list[Query]:
    """Questions about the only outcome: every control is used, and values beyond what was seen."""
    (name,) = fit.outcomes
    posterior = fit[name]
    low, high = posterior.outcome.range
    middle = round((low + high) / 2)
    baseline = 12.0 if posterior.design.has_baseline else None
    ids = posterior.design.therapists
    known = ids[1] if posterior.design.effects else "average"
    return [
        Query(name, 92.0, by=0.5),
        Query(name, 80.25, "new", by=0.5, at_least=middle, at_most=middle, baseline=baseline),
        Query(name, 101.0, known, by=-0.5, at_least=low, at_most=high),
        Query(name, 30.0, "new"),  # nobody was rated so low
        Query(name, 110.0, known, by=0.5, baseline=baseline),
    ]


@needs_node
@pytest.mark.parametrize("name", CASES)
def test_a_page_tells_what_commands_print(name: str, tmp_path: Path) -> None:
    """Every cell, for every family and every form of therapists and alliance."""
    fit = fit_with(name)
    asked = queries(fit)
    told = run_scripts(tmp_path, contents(fit), [query.state(fit) for query in asked])
    commands = [printed(fit, query) for query in asked]
    for query, page, command in zip(asked, told, commands, strict=True):
        assert differences(page, command) == []
        if query.by is None:  # nothing is asked that `decide` could answer
            average = printed(fit, replace(query, therapist="average"))["contrasts"]
            assert differences({"": page["decisions"]}, {"": average}) == []
        assert cells(command) >= 36  # three contrasts and three arms, six cells or more of each
        family = fit.specs[query.outcome].family
        without = lacking(page, command)
        if family in ("gaussian", "ordinal", "ordinal_probit"):
            assert without == set()
        elif family == "student_t":
            assert not without or all(head.startswith("P(") for head in without)
        else:
            assert all(
                head in SINGLE or "single" in head.lower() or "P(" in head for head in without
            )


WITH_COVARIATES = """
title = "Covariates of both kinds"
covariates = ["age", "centre"]
categorical = ["centre"]
[columns]
therapist = "therapist"
arm = "arm"
[arms]
A = "Usual care"
B = "Exercise"
[moderator]
label = "Bond"
name = "WAI bond"
column = "wai"
range = [0, 10]
[outcomes.pain]
label = "Pain"
baseline = "pain0"
followup = "pain8"
range = [0, 100]
better = "lower"
"""


@pytest.fixture(scope="module")
def covariates(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """A trial with an age and a centre of three, by the instant engine."""
    random = np.random.default_rng(6)
    count = 90
    table = pd.DataFrame(
        {
            "therapist": random.integers(5, size=count),
            "arm": np.resize(["A", "B"], count),
            "wai": random.uniform(1, 9, count).round(1),
            "age": random.integers(20, 70, count),
            "centre": random.choice(["north", "south", "west"], count),
            "pain0": random.uniform(30, 70, count).round(),
        }
    )
    table["pain8"] = (table["pain0"] / 2 + random.normal(15, 8, count)).clip(0, 100).round()
    study = tmp_path_factory.mktemp("covariates") / "study.toml"
    study.write_text(WITH_COVARIATES, encoding="utf-8")
    trial = al.study(study).read(table)
    return al.fit(trial, engine="instant", profile="ci", draws=200, progress=False).fit


@needs_node
def test_a_patient_is_described_by_covariates_of_both_kinds(
    covariates: Fit, tmp_path: Path
) -> None:
    own = {"baseline": 41.0, "at_most": 25.0, "by": 3.0}
    asked = [
        Query("pain", 6.5, "new", covariates={"age": 33.0}, **own),
        Query("pain", 2.25, covariates={"centre": "west"}, **own),
        Query("pain", 8.0, "2", covariates={"age": 75.0, "centre": "north"}, **own),
    ]
    told = run_scripts(tmp_path, contents(covariates), [each.state(covariates) for each in asked])
    for query, page in zip(asked, told, strict=True):
        assert differences(page, printed(covariates, query)) == []
    (row, *_) = told[0]["patient"]
    assert "Wai bond" in row  # as Python writes a heading


@needs_node
def test_sentences_are_those_of_the_report(tmp_path: Path) -> None:
    """No direction is claimed below a probability of .975, and words and digits are the same."""
    for name in ("gaussian", "worse when higher", "ordinal"):
        fit = fit_with(name)
        (outcome,) = fit.outcomes
        claimed = set()
        posterior = fit[outcome]
        values = (60.0, 85.0, 92.0, 105.0)
        asked = [Query(outcome, value) for value in values]
        states = [query.state(fit) | {"contrast": k} for query in asked for k in range(3)]
        told = iter(run_scripts(tmp_path, contents(fit), states))
        for value in values:
            table = effects_table(
                effects_along(posterior, values=[value], extrapolate=True), every=False
            )
            rows = table[table["quantity"] == "arm_contrast"].to_dict("records")
            for row in rows:
                found = found_of(row, posterior.direction, 0.95, unit=unit_of(posterior.outcome))
                first, second = (fit.study.arms[code] for code in row["level"].split("-"))
                where = f" at alliance {digits.figures(value)}"
                sentence = contrast_sentence(found, first, second, where)
                assert next(told)["sentences"]["effect"] == sentence
                claimed.add(sentence.startswith("Whether"))
        assert claimed <= {True, False}
        assert claimed


@needs_node
def test_numbers_are_printed_as_the_command_line_prints_them(tmp_path: Path) -> None:
    """Of neighbours at the same distance the even one, no negative zero, exponents as Python's."""
    random = np.random.default_rng(1)
    sizes = 10.0 ** random.uniform(-9, 11, 300)
    values = [*(random.normal(size=300) * sizes), 0.0, -0.04, 0.5, 2.5, -2.5, 0.0625, 0.1875, 1e9]
    values += [k / 2000 for k in range(2001)]  # shares of 2,000 draws: many lie between neighbours
    places = random.integers(-4, 11, len(values)).tolist()
    code = """
const asked = JSON.parse(read(states));
process.stdout.write(JSON.stringify(asked.map(([x, d]) => [
  api.number(x, d), api.general(x), api.general(x, 3), api.fixed(x, 3)])));
"""
    given = [[float(x), d] for x, d in zip(values, places, strict=True)]
    told = run_scripts(tmp_path, {"outcomes": []}, given, code)
    for (value, place), own in zip(given, told, strict=True):
        expected = [digits.number(value, place), f"{value:g}", f"{value:.3g}", f"{value:z.3f}"]
        assert own == expected, (value, place)


@needs_node
def test_quantiles_and_distribution_functions_are_numpy_s_and_scipy_s(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    draws = random.normal(size=(20, 401)).round(1)  # with ties
    shares = [0.025, 0.5, 0.975]
    points = np.concatenate([np.linspace(-9, 9, 91), [0.46, 0.47, -0.67, 5.65, 5.66]])
    code = """
const { draws, shares, points } = JSON.parse(read(states));
process.stdout.write(JSON.stringify({
  quantiles: draws.map((each) => api.quantiles(each, shares)),
  inverted: draws.map((each) => api.inverted(each, 0.95)),
  normal: points.map(api.normal), nearest: points.map(api.nearest),
}));
"""
    given = {"draws": draws.tolist(), "shares": shares, "points": points.tolist()}
    told = run_scripts(tmp_path, {"outcomes": []}, given, code)
    assert told["quantiles"] == np.quantile(draws, shares, axis=1).T.tolist()
    wanted = np.quantile(draws, 0.95, axis=1, method="inverted_cdf")
    assert told["inverted"] == wanted.tolist()
    np.testing.assert_allclose(told["normal"], special.ndtr(points), rtol=1e-13)
    assert told["nearest"] == np.rint(points).tolist()


# What a page holds -----------------------------------------------------------------------------


def test_columns_are_kept_to_a_billionth_of_their_spread() -> None:
    random = np.random.default_rng(3)
    own, columns = random.normal(5, 2, 1000), Columns()
    assert columns.add(np.zeros(1000)) is None
    assert columns.add(own) == 0
    assert columns.add(own * (1 + 1e-14)) == 0  # the same but for rounding
    assert columns.add(-own, 3) == 1
    assert columns.add(np.full(1000, 0.1)) == 2
    told = columns.told()
    assert len(base64.b64decode(told["numbers"])) == 1000 * (4 + 3 + 0)
    assert told["grids"][2] == [0.1, 0.0, 0]
    # half a step of 2^32 on a range of some eight SDs
    assert np.abs(columns.values[0] - own).max() < 2 * 1e-9 * own.std()
    assert np.abs(columns.values[1] + own).max() < 3e-7 * own.std()


@pytest.fixture(scope="module")
def page() -> str:
    return explorer_html(fit_with("gaussian"))


def held(page: str) -> dict[str, Any]:
    """The plain values of a page."""
    found = re.search(r'<script type="application/json" id="held">(.*?)</script>', page, re.S)
    assert found is not None
    answer: dict[str, Any] = json.loads(found[1])
    return answer


def lists(value: Any) -> list[list[Any]]:
    """All lists within plain values."""
    if isinstance(value, dict):
        return [each for own in value.values() for each in lists(own)]
    if isinstance(value, list):
        return [value, *(each for own in value for each in lists(own))]
    return []


@pytest.mark.parametrize("name", ["gaussian", "ordinal", "beta_binomial", "mismeasured"])
def test_no_patient_s_row_and_no_id_is_in_the_page(name: str) -> None:
    """Nothing has a number for each patient; columns have one for each draw."""
    fit = fit_with(name)
    page = explorer_html(fit)
    posterior = fit[fit.outcomes[0]]
    patients, therapists = len(posterior.rows), posterior.design.therapists
    assert PATIENT_ID not in page
    text = page.replace(held(page)["outcomes"][0]["numbers"], "")
    for therapist in therapists:
        assert not re.search(rf"\b{re.escape(therapist)}\b", text)
    named = explorer_html(fit, therapist_names=True)
    assert all(re.search(rf"\b{re.escape(therapist)}\b", named) for therapist in therapists)
    told = held(page)
    (own,) = told["outcomes"]
    columns = {None, *range(len(own["grids"]))}
    for each in lists(told):  # what is longer are columns' grids, and places of columns
        assert len(each) < patients or (
            len(each) != patients and (each == own["grids"] or set(each) <= columns)
        )
    sizes = sum(size for _, _, size in own["grids"])
    assert len(base64.b64decode(own["numbers"])) == sizes * posterior.total
    assert posterior.total != patients


def test_therapists_of_one_patient_are_left_out_where_asked() -> None:
    fit = fit_with("gaussian")
    design = fit["function"].design
    counts = design.patients_of_therapists
    assert counts.min() > 1  # of this trial: all stay
    assert len(contents(fit, hide_single=True)["outcomes"][0]["known"]) == len(counts)


def test_a_page_asks_no_network_and_trusts_no_text(page: str) -> None:
    """Scripts and styles are named by their digests; nothing else may be loaded or run."""
    document = html5lib.parse(page, namespaceHTMLElements=False)
    assert html5lib.HTMLParser(strict=True).parse(page) is not None
    policy = document.find(".//meta[@http-equiv='Content-Security-Policy']").get("content")
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    scripts = [each for each in document.iter("script") if each.get("type") is None]
    for element, kind in [(scripts[0], "script"), (document.find(".//style"), "style")]:
        digest = base64.b64encode(hashlib.sha256(element.text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    addresses = [each.get(name) for each in document.iter() for name in ("src", "href")]
    assert {each for each in addresses if each} == {"data:,", "#answers"}
    assert "SIMULATED DATA" in page
    assert not any(each.get("style") or each.get("onclick") for each in document.iter())


def test_text_of_others_ends_no_script() -> None:
    """A title, a label or a level may hold anything."""
    fit = fit_with("gaussian")
    evil = "</script><img src=x onerror=alert(1)>\u202e"
    arms = dict(zip(fit.study.arms, (evil, "b", "c"), strict=True))
    page = explorer_html(
        replace(fit, study=fit.study.model_copy(update={"title": evil, "arms": arms}))
    )
    assert evil not in page
    assert "\u202e" not in page
    assert page.count("<script") == 2
    assert held(page)["arms"][0]["label"].startswith("</script>")


def test_too_many_draws_are_refused_or_do_without_known_therapists(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fit = fit_with("gaussian")
    module = "alliance.diagnostics.explorer.contents"
    monkeypatch.setattr(f"{module}.WITHOUT_KNOWN", 100)
    told = contents(fit)
    assert told["outcomes"][0]["known"] == []
    assert "alliance effects" in told["left_out"]
    monkeypatch.setattr(f"{module}.LARGEST", 100)
    with pytest.raises(InputError, match=r"million characters.*`outcome`"):
        contents(fit)


def test_intervals_of_another_probability() -> None:
    told = contents(fit_with("gaussian"), interval=0.8)
    assert told["interval"]["words"] == "80%"
    assert told["interval"]["tails"] == pytest.approx((0.1, 0.9))
    with pytest.raises(InputError, match="not between 0 and 1"):
        contents(fit_with("gaussian"), interval=1.0)


def test_every_word_of_the_page_s_template_is_filled() -> None:
    """Of the study's moderator, whatever it is called."""
    page = explorer_html(fit_with("gaussian"))
    assert "{{" not in page.replace(held(page)["outcomes"][0]["numbers"], "")
    assert words.level_of(0.95) == held(page)["interval"]["words"]
    assert set(held(page)["outcomes"][0]["numbers"]) <= set(
        string.ascii_letters + string.digits + "+/="
    )
