"""Assumptions about unseen scores asked of a run: made draws, closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from visit_trials import VISITS, WIDE, patients

from alliance.data_prep.errors import InputError
from alliance.data_prep.study.description import narrowed, read_study
from alliance.data_prep.trial.trial import trial_from_frame
from alliance.inference.answers.assumed_courses import course_table, courses, tipping_table
from alliance.inference.posterior import Posterior
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.fitting import fit_trial
from alliance.inference.sampling.profiles import find_profile

pytestmark = pytest.mark.mcmc


@pytest.fixture(scope="module")
def fit(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    path = tmp_path_factory.mktemp("assumed") / "study.toml"
    path.write_text(WIDE, encoding="utf-8")
    study = narrowed(read_study(path), therapist="none", interaction=False)
    return fit_trial(trial_from_frame(study, patients(80)), find_profile("ci"), seed=1)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """The last visit alone, as an outcome with one follow-up, without compiling."""
    path = tmp_path_factory.mktemp("single") / "study.toml"
    visits = WIDE[WIDE.index("visits =") : WIDE.index("range = [0, 100]")]
    path.write_text(WIDE.replace(visits, 'followup = "pain52"\n'), encoding="utf-8")
    study = narrowed(read_study(path), therapist="none", interaction=False)
    return fit_trial(
        trial_from_frame(study, patients(80)), find_profile("ci"), seed=1, engine="instant"
    )


def visits(fit: Fit) -> list[Posterior]:
    return [fit[name] for name in fit.chosen(["pain"])]


def contrasts(fit: Fit, *asked: object, **more: object) -> np.ndarray:
    table = course_table(courses(visits(fit), *asked, **more))
    own = table[table["quantity"] == "arm_contrast"]
    return own["mean"].to_numpy()


def test_missing_at_random_is_the_contrast_of_the_summary(fit: Fit) -> None:
    """Without interaction one contrast for all alliances, visit by visit."""
    table = fit.summary(over_visits=False)
    own = table[table["quantity"] == "arm_contrast"]["mean"].to_numpy()
    assert np.allclose(contrasts(fit), own)


def test_delta_moves_a_contrast_by_the_adjusted_share_that_left(fit: Fit) -> None:
    """By least squares of "left, in arm B" on the columns; gaps there are none."""
    frame = patients(80)
    arm = (frame["arm"] == "B").to_numpy()
    X = np.column_stack([np.ones(80), arm, frame["pain0"], frame["wai"]]).astype(float)
    expected = [
        np.linalg.lstsq(X, (arm & frame[column].isna()).astype(float))[0][1] for column in VISITS
    ]
    moved = contrasts(fit, delta={"Exercise": 2.0}) - contrasts(fit)
    assert np.allclose(moved, 2 * np.array(expected), atol=1e-9)
    table = course_table(courses(visits(fit)))
    own = table[table["quantity"] == "arm_contrast"]
    assert np.allclose(own["per_point"], expected, atol=1e-9)


def test_jump_to_reference_shrinks_and_varies_less(fit: Fit) -> None:
    """By the same share where slopes are the same in both arms; only where some left."""
    plain = course_table(courses(visits(fit)))
    jumped = course_table(courses(visits(fit), "j2r", reference="A"))
    own, moved = (
        table[table["quantity"] == "arm_contrast"].reset_index() for table in (plain, jumped)
    )
    kept = 1 - own["per_point"]
    assert np.allclose(moved["mean"], own["mean"] * kept)
    assert np.allclose(moved["sd"], own["sd"] * kept)
    assert moved["sd_information_anchored"].iloc[-1] > own["sd"].iloc[-1] * 0.999


def test_the_tipping_shift_leaves_the_probability(fit: Fit) -> None:
    found = courses(visits(fit), delta={"B": -30})  # so that there is a benefit to lose
    table = tipping_table(found, probability=0.9)
    shift = table["tipping_shift"].iloc[0]
    again = course_table(courses(visits(fit), delta={"B": -30 + shift}))
    last = again[again["quantity"] == "arm_contrast"].iloc[-1]
    assert last["prob_better"] == pytest.approx(0.9, abs=2e-3)
    # Where the draws, spread about their mean as the other SD has it, have the same chance
    shift = table["tipping_shift_information_anchored"].iloc[0]
    moved = found.shifted("B", shift)
    drawn = moved.found.means[:, 1, -1] - moved.found.means[:, 0, -1]
    wider = moved.found.anchored[1, 0, -1] / drawn.std(ddof=1)
    chance = ((drawn.mean() + wider * (drawn - drawn.mean())) < 0).mean()
    assert chance == pytest.approx(0.9, abs=2e-3)


def test_one_follow_up_counts_those_who_lack_it(single: Fit) -> None:
    """Copying the reference, or jumping there, is the same where nothing was seen."""
    frame = patients(80)
    share = frame.loc[frame["arm"] == "B", "pain52"].isna().mean()
    plain = contrasts(single)
    for assumption in ("j2r", "cr", "cir"):
        moved = contrasts(single, assumption, reference="Usual care")
        assert moved / plain == pytest.approx(1 - share, abs=0.02)  # adjusted for baseline


def test_what_cannot_be_asked_is_refused(fit: Fit) -> None:
    with pytest.raises(InputError, match="is one visit of pain"):
        courses([fit["pain_m6"]])
    with pytest.raises(InputError, match="no arm 'C'"):
        courses(visits(fit), "j2r", reference="C")
    with pytest.raises(InputError, match="cannot be lost"):
        tipping_table(courses(visits(fit)), probability=0.4)
