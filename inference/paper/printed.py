"""What a paper prints of a finding, on the scale where its estimate is taken as normal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scipy.special import ndtri, stdtrit

from alliance.data_prep.errors import InputError, nearest
from alliance.data_prep.files import AnyPath, as_path
from alliance.data_prep.levels import contrast_names
from alliance.data_prep.study.description import STUDY_FILE, Study, bundled_studies, read_study
from alliance.inference.published.findings import Better, Finding
from alliance.inference.published.published import read_published

PUBLISHED = "published.toml"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A printed estimate with its standard error.

    Attributes
    ----------
    value, se : float
        On the analysis scale: differences as later minus earlier on the outcome's own scale,
        ratios as logarithms.
    df : float
        Degrees of freedom; infinite where none are printed.
    source : str
        What the standard error comes from.
    ratio : bool
    """

    value: float
    se: float
    df: float
    source: str
    ratio: bool = False

    def shown(self, value: float) -> float:
        """A value of the analysis scale as it is printed: a logarithm as a ratio."""
        return math.exp(value) if self.ratio else value


def quantile(probability: float, df: float) -> float:
    """Quantile of Student's t, and of the normal distribution where `df` is infinite.

    Examples
    --------
    >>> round(quantile(0.975, math.inf), 3), round(quantile(0.975, 10), 3)
    (1.96, 2.228)
    """
    return float(ndtri(probability) if math.isinf(df) else stdtrit(df, probability))


def estimate_of(finding: Finding, better: Better | None) -> Estimate | None:
    """The estimate of a finding with its standard error; None where the paper tells neither.

    The standard error is the printed one; else it comes from the printed interval, from t, or from
    p, in this order.

    Parameters
    ----------
    finding : Finding
    better : {"higher", "lower"}, optional
        Which scores are better; turns the signs of numbers oriented towards benefit.
    """
    if finding.estimate is None or finding.claim != "number":
        return None
    printed = finding.as_difference(better) if better is not None else finding
    ratio = printed.is_ratio
    value = math.log(printed.estimate) if ratio else float(printed.estimate)  # type: ignore[arg-type]
    df = math.inf if printed.df is None else printed.df
    tail = quantile((1 + printed.interval) / 2, df)
    if printed.se is not None:
        return Estimate(value, printed.se, df, "printed standard error", ratio)
    if printed.lower is not None and printed.upper is not None:
        ends = (printed.lower, printed.upper)
        low, high = (math.log(end) for end in ends) if ratio else ends
        if high > low:
            told = f"printed {100 * printed.interval:g}% interval"
            return Estimate(value, (high - low) / (2 * tail), df, told, ratio)
        return None
    if printed.t:
        return Estimate(value, abs(value / printed.t), df, "printed t", ratio)
    if printed.p is not None and 0 < printed.p < 1 and value:
        return Estimate(value, abs(value) / quantile(1 - printed.p / 2, df), df, "printed p", ratio)
    return None


@dataclass(frozen=True, eq=False)
class Printed:
    """The findings of a paper, with what is known of its trial.

    Attributes
    ----------
    name : str
        Of the file.
    title : str
        Of the study; the file's name where there is no study beside it.
    findings : tuple of Finding
    study : Study or None
        That stands beside the findings.
    """

    name: str
    title: str
    findings: tuple[Finding, ...]
    described: Study | None = None
    simulated: bool = False  # what is printed was not simulated, whatever a demo is made of

    @property
    def study(self) -> Printed:
        """Itself: whose title a figure bears."""
        return self

    @property
    def arms(self) -> Mapping[str, str]:
        """Labels of the arms by code; none without a study."""
        return {} if self.described is None else self.described.arms

    def label(self, outcome: str) -> str:
        """An outcome's label."""
        own = None if self.described is None else self.described.outcomes.get(outcome)
        return outcome if own is None else own.label

    def better(self, outcome: str) -> Better | None:
        """Which scores of an outcome are better; None where nobody says."""
        own = None if self.described is None else self.described.outcomes.get(outcome)
        return None if own is None else own.better

    def width(self, outcome: str) -> float | None:
        """How far apart two scores of an outcome can be; None where nobody says."""
        own = None if self.described is None else self.described.outcomes.get(outcome)
        return None if own is None else own.range[1] - own.range[0]

    def pair(self, finding: Finding) -> tuple[str, str] | None:
        """Codes of the later and the earlier arm of a contrast; None where it is none."""
        codes = tuple(self.arms)
        for (later, earlier), name in contrast_names(codes).items():
            if name == finding.level and later > earlier:
                return codes[later], codes[earlier]
        if not codes and isinstance(finding.n, Mapping) and len(finding.n) == 2:
            later_code, earlier_code = finding.n
            return later_code, earlier_code
        return None

    def benefit(self, finding: Finding) -> int | None:
        """1 where a higher estimate is a benefit, -1 where a lower one is; None if nobody says."""
        better = self.better(finding.outcome)
        if better is None:
            return 1 if finding.oriented == "benefit" else None
        return {"higher": 1, "lower": -1}[better]

    def named(self, number: int) -> str:
        """A finding as messages name it.

        Parameters
        ----------
        number : int
            From the file's top, from 1.
        """
        finding = self.findings[number - 1]
        parts = (finding.outcome, finding.quantity, finding.level, finding.trial)
        return f"{self.name}, finding {number} ({', '.join(part for part in parts if part)})"


def read_printed(name_or_path: AnyPath) -> Printed:
    """Read the printed numbers of a paper.

    Parameters
    ----------
    name_or_path : str or path-like
        A `published.toml`, a folder that holds one, or the name of a bundled study. Where a
        `study.toml` stands beside it, the findings bear its names.

    Raises
    ------
    InputError
        If there is no such file, or it is faulty.
    """
    path = as_path(name_or_path)
    bundled = {name: place.with_name(PUBLISHED) for name, place in bundled_studies().items()}
    if path.is_dir():
        path = path / PUBLISHED
    elif not path.is_file() and str(name_or_path) in bundled:
        path = bundled[str(name_or_path)]
    if not path.is_file():
        raise InputError(
            f"There is no file of published findings {str(name_or_path)!r}.",
            f"Give a published.toml, or a bundled study. {nearest(str(name_or_path), bundled)}",
        )
    beside = path.with_name(STUDY_FILE)
    study = read_study(beside) if beside.is_file() else None
    findings = read_published(path, study)
    return Printed(path.name, path.stem if study is None else study.title, findings, study)


def patients_by_arm(printed: Printed, finding: Finding) -> tuple[float, float] | None:
    """Patients of the two arms of a contrast: as printed, or halves of all; None if not told.

    Parameters
    ----------
    printed : Printed
    finding : Finding
    """
    if finding.n is None:
        return None
    if isinstance(finding.n, int):
        return finding.n / 2, finding.n / 2
    pair = printed.pair(finding)
    if pair is None or any(code not in finding.n for code in pair):
        return None
    return float(finding.n[pair[0]]), float(finding.n[pair[1]])


def patients(finding: Finding) -> int | None:
    """Patients of the analysis; None if not told."""
    return finding.n if finding.n is None or isinstance(finding.n, int) else sum(finding.n.values())


def row_of(finding: Finding, number: int) -> dict[str, Any]:
    """The columns that name a finding in every table."""
    return {
        "finding": number,
        "outcome": finding.outcome,
        "quantity": finding.quantity,
        "level": finding.level,
        "trial": finding.trial or "",
    }
