"""Trials without an alliance: in an arm (a waiting list), or at all; and files without ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.data_prep.study.description import Study

ARMS = {"WL": "Waiting list", "CBT": "Cognitive therapy", "IPT": "Interpersonal therapy"}
OUTCOME = "mood"
SD = 6.0  # residual, in points of the outcome
SLOPES = {"CBT": -0.25, "IPT": -0.10}  # points for one point of the alliance
EFFECTS = {"WL": 0.0, "CBT": -5.0, "IPT": -3.0}  # at an alliance of 60
THERAPIST_SD = 1.5


def a_study(
    *,
    arms: Sequence[str] = tuple(ARMS),
    rated: Sequence[str] | None = ("CBT", "IPT"),
    ids: bool = True,
    model: Mapping[str, Any] | None = None,
    family: str = "gaussian",
) -> Study:
    """Its description; `rated` names the arms with an alliance, None a trial without any."""
    columns = {"therapist": "therapist", "arm": "arm"} | ({"patient": "id"} if ids else {})
    moderator = {"label": "Working alliance", "column": "wai", "range": [12, 84]}
    some = rated is not None and tuple(rated) != tuple(arms)
    content: dict[str, Any] = {
        "title": "Therapies beside a waiting list",
        "columns": columns,
        "arms": {code: ARMS[code] for code in arms},
        "covariates": ["age"],
        "outcomes": {
            OUTCOME: {
                "label": "Depression",
                "baseline": "mood_0",
                "followup": "mood_12",
                "range": [0, 63],
                "better": "lower",
                "family": family,
            }
        },
        "model": ({"moderator_arms": list(rated or ())} if some else {}) | dict(model or {}),
    }
    if rated is not None:
        content["moderator"] = moderator
    return Study.model_validate(content)


def a_frame(
    patients: int = 180,
    seed: int = 15,
    *,
    arms: Sequence[str] = tuple(ARMS),
    rated: Sequence[str] = ("CBT", "IPT"),
    therapists: int = 12,
    whole: bool = False,
) -> pd.DataFrame:
    """Patients of it: every therapist sees patients of every arm.

    Parameters
    ----------
    patients, seed, arms, rated, therapists
        As of the trial.
    whole : bool
        Scores are whole numbers within the range.
    """
    generator = np.random.default_rng(seed)
    arm = np.array(arms)[np.arange(patients) % len(arms)]
    therapist = generator.permutation(np.arange(patients) % therapists)
    alliance = np.round(np.clip(60 + 9 * generator.standard_normal(patients), 12, 84))
    age = np.round(40 + 11 * generator.standard_normal(patients))
    before = np.round(np.clip(28 + 7 * generator.standard_normal(patients), 0, 63))
    own = THERAPIST_SD * generator.standard_normal(therapists)
    score = 22 + 0.5 * (before - 28) + 0.05 * (age - 40) + own[therapist]
    score += np.array([EFFECTS[code] for code in arm])
    score += np.array([SLOPES.get(code, 0.0) for code in arm]) * (alliance - 60)
    score += SD * generator.standard_normal(patients)
    if whole:
        score = np.clip(np.round(score), 0, 63)
    return pd.DataFrame(
        {
            "id": [f"P{k + 1:03d}" for k in range(patients)],
            "therapist": [f"T{k + 1:02d}" for k in therapist],
            "arm": arm,
            "age": age,
            "wai": np.where(np.isin(arm, list(rated)), alliance, np.nan),
            "mood_0": before,
            "mood_12": np.clip(np.round(score, 2), 0, 63),
        }
    )
