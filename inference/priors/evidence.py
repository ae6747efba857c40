"""What the data say of a prior from the prior pack: whether the two conflict."""

from __future__ import annotations

from dataclasses import dataclass

from alliance.inference.posterior import Posterior
from alliance.models.priors import SlopeEvidence, evidence_weight


@dataclass(frozen=True, slots=True)
class EvidenceKept:
    """How much of a robust prior the data leave to the evidence.

    Attributes
    ----------
    known : SlopeEvidence
    vague : float
        Scale of the vague part of the mixture.
    weight : float
        Of the evidence after the data; before, it is that of `known`.
    """

    known: SlopeEvidence
    vague: float
    weight: float

    @property
    def bayes_factor(self) -> float:
        """Of the evidence against the vague part: the odds after the data over those before."""
        before, after = self.known.weight, self.weight
        return after / (1 - after) / (before / (1 - before)) if after < 1 else float("inf")

    @property
    def conflict(self) -> bool:
        """Whether the data take weight from the evidence."""
        return self.weight < self.known.weight


def evidence_kept(posterior: Posterior) -> EvidenceKept | None:
    """What the data leave of the evidence on the slope; None where the study takes none.

    Parameters
    ----------
    posterior : Posterior
    """
    priors = posterior.priors
    if priors.slope is None:
        return None
    names = [str(name) for name in posterior.draws["coefficient"].values]
    slope = posterior.flat("beta")[:, names.index("moderator")]
    return EvidenceKept(priors.slope, priors.moderator_slope, evidence_weight(priors, slope))
