"""A trial with an event and a count, from a file to every answer; what does not go is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import alliance
from scipy import special

pytestmark = pytest.mark.mcmc

STUDY = """title = "Therapy for epilepsy"

[columns]
patient = "id"
therapist = "therapist"
arm = "arm"

[arms]
TAU = "Usual care"
CBT = "Cognitive therapy"

[moderator]
label = "Working alliance"
column = "wai"
range = [12, 84]

[outcomes.remission]
label = "Remission"
followup = "remitted"
family = "binary"
better = "higher"

[outcomes.seizures]
label = "Seizures"
followup = "seizures"
family = "count"
exposure = "months"
range = [0, 500]
better = "lower"

[model]
therapist = "intercept"
"""
PUBLISHED = """[[finding]]
outcome = "remission"
quantity = "odds_ratio_conditional"
level = "CBT-TAU"
claim = "number"
estimate = 2.2
lower = 1.2
upper = 4.0
known_by = "assumed"
source = "Made up for a test"
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("events")
    random = np.random.default_rng(5)
    patients = 120
    arm = random.permutation(np.repeat([0, 1], patients // 2))
    therapist, wai = random.integers(0, 8, patients), random.integers(30, 84, patients)
    own = 0.4 * random.standard_normal(8)[therapist]
    chance = special.expit(-0.3 + 0.8 * arm + 0.03 * (wai - 60) + own)
    months = random.uniform(1, 12, patients).round(1)
    mean = months * np.exp(-0.5 * arm - 0.02 * (wai - 60) + own)
    frame = pd.DataFrame(
        {
            "id": range(patients),
            "therapist": [f"T{k}" for k in therapist],
            "arm": np.where(arm, "CBT", "TAU"),
            "wai": wai,
            "remitted": np.where(random.random(patients) < chance, "yes", "no"),
            "months": months,
            "seizures": random.poisson(mean * random.gamma(2, 0.5, patients)),
        }
    )
    frame.to_csv(folder / "trial.csv", index=False)
    (folder / "study.toml").write_text(STUDY)
    (folder / "published.toml").write_text(PUBLISHED)
    answer = alliance(
        "fit", folder / "study.toml", folder / "trial.csv", "--out", folder / "run",
        "--profile", "ci",
    )  # fmt: skip
    assert answer.code == 0, answer.stderr
    return folder / "run"


def test_the_summary_has_ratios_and_numbers_needed_to_treat(run: Path) -> None:
    answer = alliance("summary", run)
    assert answer.code == 0, answer.stderr
    for words in ("risk ratio, marginal", "odds ratio, conditional", "rate ratio, marginal"):
        assert words in answer.stdout
    assert "number needed to treat" in answer.stdout
    assert "to benefit one" in answer.stdout


def test_the_comparison_has_maximum_likelihood_and_the_published_ratio(run: Path) -> None:
    table = alliance("compare", run, "--format", "csv").stdout
    frame = pd.read_csv(pd.io.common.StringIO(table))
    rows = frame.set_index(["outcome", "quantity", "level"])
    ratio = rows.loc[("remission", "odds_ratio_conditional", "CBT-TAU")]
    assert ratio["published_estimate"] == 2.2
    assert ratio["verdict"] in ("agrees", "undetermined", "differs")
    # ML ignores therapists and priors; with 120 patients the two are within an SE of one another
    gap = np.log(ratio["ml_estimate"]) - np.log(ratio["posterior_mean"])
    assert abs(gap) < ratio["ml_se"] / ratio["ml_estimate"]
    assert np.isnan(ratio["ols_estimate"])
    rate = rows.loc[("seizures", "rate_ratio", "CBT-TAU")]
    assert np.isfinite(rate[["ml_estimate", "ml_lower", "posterior_mean"]].astype(float)).all()


@pytest.mark.parametrize(
    "command",
    [
        ("predict", "--outcome", "seizures", "--exposure", "12", "--at-most", "3"),
        ("predict", "--average-over", "trial", "--contrasts"),
        ("predict", "--outcome", "remission", "--at-least", "1", "--contrasts"),
        ("effects",),
        ("decide", "--outcome", "remission", "--reach", "1", "--threshold", "0.1", "--lift", "5"),
        ("decide", "--outcome", "seizures", "--reach", "2", "--rope", "-0.1:0.1"),
        ("therapists",),
        ("loo",),
        ("loo", "--by", "therapist"),
        ("ppc",),
        ("diagnose",),
        ("sensitivity",),
        ("sensitivity", "--kind", "influence"),
        ("sensitivity", "--kind", "unseen", "--outcome", "remission"),
    ],
    ids=" ".join,
)
def test_every_question_has_an_answer(run: Path, command: tuple[str, ...]) -> None:
    name, *options = command
    answer = alliance(name, run, *options)
    assert answer.code == 0, answer.stderr
    assert "nan" not in answer.stdout.lower()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("predict", "--outcome", "remission", "--exposure", "12"), "no exposure"),
        (("predict", "--outcome", "seizures", "--exposure", "-1"), "above zero"),
        (("sensitivity", "--kind", "unseen", "--outcome", "seizures"), "counts have none"),
    ],
    ids=str,
)
def test_what_does_not_go_is_said_in_words(run: Path, command: tuple[str, ...], said: str) -> None:
    name, *options = command
    answer = alliance(name, run, *options)
    assert answer.code == 2
    assert said in answer.stderr


@pytest.mark.parametrize("options", [("--joint",)])
def test_settings_that_events_do_not_go_with_are_refused(
    run: Path, options: tuple[str, ...]
) -> None:
    folder = run.parent
    files = folder / "study.toml", folder / "trial.csv"
    answer = alliance("fit", *files, "--out", folder / "other", *options)
    assert answer.code == 2
    assert "binary" in answer.stderr


def test_no_trial_is_planned_for_events(run: Path) -> None:
    answer = alliance(
        "assurance", run.parent / "study.toml", "--outcome", "remission", "--patients", "100",
        "--therapists", "10", "--interaction", "0.3",
    )  # fmt: skip
    assert answer.code == 2
    assert "has the family binary" in answer.stderr
