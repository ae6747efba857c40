"""Nesting: which arms have therapists, and which of them share a residual SD.

In a partially nested trial some arms have therapists and others, a waiting list or usual care, have
none. A patient of the latter has no therapist effect and, since nothing says that what is left over
is as large there, a residual SD of the arm's own (Roberts & Roberts 2005,
doi:10.1191/1740774505cn076oa; Bauer, Sterba & Hallfors 2008, doi:10.1080/00273170802034810).

Residual SDs belong to groups of arms. Group 0 is that of the first arm with therapists: spreads of
therapists are taken relative to its SD.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]

RESIDUAL_GROUP = "residual_group"  # the dimension of residual SDs where there are several


@dataclass(frozen=True, slots=True)
class Nesting:
    """Which arms have therapists, and the residual group of each.

    Attributes
    ----------
    without : frozenset of int
        Positions of the arms that have no therapists.
    groups : tuple of int
        Residual group of each arm, from 0; empty where one residual SD is that of all.
    """

    without: frozenset[int] = frozenset()
    groups: tuple[int, ...] = ()

    @classmethod
    def of(cls, arms: Sequence[str], without: Sequence[str], *, residual_by_arm: bool) -> Nesting:
        """The nesting of a trial.

        Parameters
        ----------
        arms : sequence of str
            Codes in display order.
        without : sequence of str
            Those that have no therapists.
        residual_by_arm : bool
        """
        alone = frozenset(k for k, code in enumerate(arms) if code in without)
        some = 0 < len(alone) < len(arms)
        if not (some or residual_by_arm):
            return cls(alone)
        groups = [0] * len(arms)
        own = [k for k in range(len(arms)) if k not in alone]  # first, so that they have group 0
        following = 0
        for k in [*own, *sorted(alone)] if some else range(len(arms)):
            if residual_by_arm or k in alone:
                groups[k], following = following, following + 1
            else:
                following = 1
        return cls(alone, tuple(groups))

    @property
    def number(self) -> int:
        """How many residual SDs there are."""
        return max(self.groups, default=0) + 1

    @property
    def with_therapists(self) -> int:
        """How many residual groups have therapists; they come first, and group 0 always counts."""
        own = [group for k, group in enumerate(self.groups) if k not in self.without]
        return max(own, default=0) + 1

    def coords(self, arms: Sequence[str]) -> dict[str, list[str]]:
        """Labels of the dimension of the groups, the arms of each; none where there is one."""
        if not self.groups:
            return {}
        members = [
            [arm for arm, own in zip(arms, self.groups, strict=True) if own == group]
            for group in range(self.number)
        ]
        return {RESIDUAL_GROUP: [", ".join(own) for own in members]}

    def arms_with(self, arms: int) -> tuple[int, ...]:
        """Positions of the arms that have therapists, of so many arms."""
        return tuple(k for k in range(arms) if k not in self.without)

    def has_therapist(self, arm_index: Index) -> NDArray[np.bool_]:
        """Whether patients in these arms have a therapist."""
        return ~np.isin(arm_index, list(self.without))

    def group_of(self, arm_index: Index) -> Index:
        """Residual group of patients in these arms."""
        if not self.groups:
            return np.zeros(len(arm_index), dtype=np.int64)
        return np.array(self.groups, dtype=np.int64)[arm_index]


NESTED_ALIKE = Nesting()
"""Every arm has therapists, and one residual SD is that of all."""
