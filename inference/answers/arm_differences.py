"""Two arms for the same patient: differences of expected scores, and of single outcomes.

Both arms have the same therapist effects and the same residual rank (`inference.scores.residuals`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alliance.inference.answers.score_steps import ROUNDING, ScoreSteps
from alliance.models.design.encoding import arm_pairs

Array = NDArray[np.float64]


def arm_differences(
    expected: Array,
    scores: Array,
    steps: ScoreSteps,
    names: Mapping[tuple[int, int], str],
    *,
    better: str,
    by: float | None,
    interval: float,
) -> pd.DataFrame:
    """Differences between all pairs of arms, for each patient.

    Parameters
    ----------
    expected, scores : ndarray, shape (d, n, K)
        Expected scores and single outcomes of n patients in K arms.
    steps : ScoreSteps
        Chances of the patient's outcomes count scores as they are recorded.
    names : mapping of (int, int) to str
        Of the contrasts, by the positions of their arms among the K.
    better : {"higher", "lower"}
        Which scores are better.
    by : float or None
        A difference in the direction of benefit whose chance is wanted.
    interval : float

    Returns
    -------
    pandas.DataFrame
        Patient after patient, pairs as in `models.design.design.arm_pairs`, later arm minus
        earlier: ``contrast`` (``MCE-GE``); ``expected`` with ``expected_sd, expected_lower,
        expected_upper``, ``prob_positive`` and ``prob_better`` (difference of expected scores);
        ``outcome_lower, outcome_upper`` and ``prob_outcome_better`` (difference of the patient's
        outcomes, and the chance that the later arm's is better: a tie is not); with `by` also
        ``better_by, prob_better_by, prob_outcome_better_by``.
    """
    gain = 1 if better == "higher" else -1
    tails = [(1 - interval) / 2, (1 + interval) / 2]
    recorded = steps.recorded(scores)
    slack = ROUNDING * steps.step
    found: list[pd.DataFrame] = []
    for later, earlier in arm_pairs(expected.shape[-1]):
        mean = expected[..., later] - expected[..., earlier]
        single = scores[..., later] - scores[..., earlier]
        told = recorded[..., later] - recorded[..., earlier]
        lower, upper = np.quantile(mean, tails, axis=0)
        outcome_lower, outcome_upper = np.quantile(single, tails, axis=0)
        columns: dict[str, Array | str | float] = {
            "contrast": names[later, earlier],
            "expected": mean.mean(axis=0),
            "expected_sd": mean.std(axis=0, ddof=1),
            "expected_lower": lower,
            "expected_upper": upper,
            "prob_positive": (mean > 0).mean(axis=0),
            "prob_better": (gain * mean > 0).mean(axis=0),
            "outcome_lower": outcome_lower,
            "outcome_upper": outcome_upper,
            "prob_outcome_better": (gain * told > slack).mean(axis=0),
        }
        if by is not None:
            columns |= {
                "better_by": by,
                "prob_better_by": (gain * mean >= by).mean(axis=0),
                "prob_outcome_better_by": (gain * told >= by - slack).mean(axis=0),
            }
        found.append(pd.DataFrame(columns))
    table = pd.concat(found, keys=range(len(found)), names=["pair", "patient"])
    return table.sort_index(level=["patient", "pair"]).reset_index(drop=True)
