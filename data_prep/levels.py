"""Names of levels in tables: one place that writes them, and one that reads them.

The key of a contrast is a pair of arms, that of a covariate's column the covariate and its level.
Joined to text, two keys may look alike: the arms ``A-B`` minus ``C`` and ``A`` minus ``B-C``. Such
keys are told apart by quotes, so that in the tables of a study two keys never have one name. No
other module joins a study's codes to a name or takes a name apart.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from itertools import combinations, permutations

from alliance.data_prep.errors import InputError, nearest

JOINT = "joint"  # what a joint model's shared quantities are reported under, beside the outcomes
OVER_TIME = "visits"  # entry of a run's manifest, by outcome over time
AVERAGE, WITHIN, BETWEEN = "average", "within", "between"
RESERVED = (AVERAGE, WITHIN, BETWEEN)  # levels of the moderator's slope that are no arms


def quoted(text: str) -> str:
    """A code in quotes, as JSON writes it: where it ends is never in doubt.

    Examples
    --------
    >>> print(quoted("A-B"))
    "A-B"
    """
    return json.dumps(text, ensure_ascii=False)


def told_apart[Key: Hashable](
    plain: Mapping[Key, str], careful: Mapping[Key, str], taken: Sequence[str] = ()
) -> dict[Key, str]:
    """A name of its own for every key: the plain one, and the careful one where two look alike.

    Parameters
    ----------
    plain, careful : mapping of key to str
        The same keys; no two careful names are equal.
    taken : sequence of str
        Names that are none of these keys'.
    """
    count = Counter(plain.values())
    names = {
        key: name if count[name] == 1 and name not in taken else careful[key]
        for key, name in plain.items()
    }
    if len(set(names.values())) == len(names):
        return names
    return dict(careful)  # a plain name that is written as another's careful one


@lru_cache
def contrast_names(codes: tuple[str, ...]) -> Mapping[tuple[int, int], str]:
    """Name of every contrast of two arms, ``MCE-GE`` for MCE minus GE, in either direction.

    Parameters
    ----------
    codes : tuple of str
        Of the arms, in display order.

    Returns
    -------
    mapping of (int, int) to str
        By the positions of the two arms, the second taken from the first; no name twice, and none
        that is the code of an arm.

    Examples
    --------
    >>> contrast_names(("GE", "MCE"))[1, 0]
    'MCE-GE'
    >>> names = contrast_names(("C", "B-C", "A", "A-B"))
    >>> print(names[2, 1], names[3, 0], names[2, 0])
    "A"-"B-C" "A-B"-"C" A-C
    """
    usual = [(later, earlier) for earlier, later in combinations(range(len(codes)), 2)]
    pairs = [*usual, *((earlier, later) for later, earlier in usual)]
    return told_apart(
        {(k, j): f"{codes[k]}-{codes[j]}" for k, j in pairs},
        {(k, j): f"{quoted(codes[k])}-{quoted(codes[j])}" for k, j in pairs},
        codes,
    )


def code_names(codes: Sequence[str], taken: Sequence[str]) -> tuple[str, ...]:
    """Codes as levels beside others that are no codes: in quotes where they look like those.

    Parameters
    ----------
    codes : sequence of str
        Each once.
    taken : sequence of str
        The other levels.
    """
    plain, careful = dict(enumerate(codes)), {k: quoted(code) for k, code in enumerate(codes)}
    return tuple(told_apart(plain, careful, taken).values())


@lru_cache
def slope_names(codes: tuple[str, ...]) -> tuple[str, ...]:
    """Level of each arm's own slope of the moderator, beside `RESERVED`.

    Parameters
    ----------
    codes : tuple of str
        Of the arms.

    Examples
    --------
    >>> print(*slope_names(("GE", "average")))
    GE "average"
    """
    return code_names(codes, RESERVED)


def names_among(codes: Sequence[str], chosen: Sequence[int]) -> dict[tuple[int, int], str]:
    """Names of the contrasts of some arms, by their places among these.

    Parameters
    ----------
    codes : sequence of str
        Of all arms: a contrast has one name, whichever others are shown beside it.
    chosen : sequence of int
        Positions of the arms.
    """
    names = contrast_names(tuple(codes))
    return {(k, j): names[chosen[k], chosen[j]] for k, j in permutations(range(len(chosen)), 2)}


def find_arm(arms: Mapping[str, str], named: str) -> str | None:
    """The code of an arm that somebody named by its code or by its label; None if there is none.

    Parameters
    ----------
    arms : mapping of str to str
        Labels by code. A code goes before a label that looks like it.
    named : str

    Raises
    ------
    InputError
        If several arms have the label.

    Examples
    --------
    >>> arms = {"GE": "General exercise", "MCE": "Motor control exercise"}
    >>> find_arm(arms, "MCE"), find_arm(arms, "General exercise"), find_arm(arms, "SMT")
    ('MCE', 'GE', None)
    """
    if named in arms:
        return named
    found = [code for code, label in arms.items() if label == named]
    if len(found) > 1:
        raise InputError(f"The arms {' and '.join(found)} are labelled {named!r}.", "Give a code.")
    return found[0] if found else None


def find_contrast(
    codes: Sequence[str],
    named: str,
    pairs: Sequence[tuple[int, int]] = (),
    labels: Mapping[str, str] | None = None,
) -> tuple[int, int]:
    """The two arms of a contrast that somebody named.

    Parameters
    ----------
    codes : sequence of str
        Of the arms, in display order.
    named : str
        As in the tables, or the two codes or labels with a hyphen or " minus " between them, each
        code in quotes or not.
    pairs : sequence of tuple of int
        Contrasts that can be meant; all of them, in either direction, by default.
    labels : mapping of str to str, optional
        By code.

    Returns
    -------
    tuple of int
        Positions; the second arm is taken from the first.

    Raises
    ------
    InputError
        If there is no such contrast, or the name could be two.
    """
    every = contrast_names(tuple(codes))
    names = {pair: every[pair] for pair in pairs or every}
    for pair, name in names.items():
        if name == named:
            return pair
    spelled = [{code, quoted(code), (labels or {}).get(code, code)} for code in codes]
    found = [
        pair
        for pair in names
        if any(
            named in (f"{first}-{second}", f"{first} minus {second}")
            for first in spelled[pair[0]]
            for second in spelled[pair[1]]
        )
    ]
    if len(found) == 1:
        return found[0]
    if found:
        told = " or ".join(names[pair] for pair in found)
        raise InputError(
            f"The contrast {named!r} could be {told}.", "Name it with these quotes in it."
        )
    raise InputError(f"There is no contrast {named!r}.", nearest(named, list(names.values())))


def contrast_words(codes: Sequence[str]) -> dict[str, str]:
    """What each contrast's name says in words, ``MCE minus GE``, by its name.

    Parameters
    ----------
    codes : sequence of str
        Of the arms; or their labels' codes, whatever is to be read.
    """
    names = contrast_names(tuple(codes))
    plain = {pair: f"{codes[pair[0]]} minus {codes[pair[1]]}" for pair in names}
    careful = {pair: f"{quoted(codes[pair[0]])} minus {quoted(codes[pair[1]])}" for pair in names}
    words = told_apart(plain, careful)
    return {name: words[pair] for pair, name in names.items()}
