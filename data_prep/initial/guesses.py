"""Which column plays which part in a study: guessed, each guess with its reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from unicodedata import combining, normalize

import numpy as np

from alliance.data_prep.errors import InputError, nearest
from alliance.data_prep.initial import names
from alliance.data_prep.initial.columns import Column
from alliance.data_prep.initial.draft import (
    Ask,
    Draft,
    OutcomeGuess,
    Question,
    decide_alone,
    ends_of,
)
from alliance.data_prep.initial.measures import (
    FEWEST_ITEMS,
    Measures,
    before_treatment,
    in_time,
    items_among,
    measures,
    scored,
    surest,
)
from alliance.data_prep.initial.names import Timed, rank, timed, words
from alliance.data_prep.initial.scales import ROUNDED, Guess, is_number, range_of
from alliance.data_prep.study.rules import OUTCOME_NAME, RESERVED_NAMES
from alliance.data_prep.trial.items import against_the_rest

MOST_ARMS = 8
FEWEST_CLUSTERS, FEWEST_THERAPISTS = 5, 2
MOST_FOLLOWUPS = 2  # of one measure; of more the last one
MOST_COVARIATE_LEVELS = 6  # more cost more coefficients than a first draft should take
NOT_LIKE_ALLIANCE = ("goal", "task", "bond", "subscale")


def draft_study(
    columns: Sequence[Column], source: str, given: dict[str, str], ask: Ask = decide_alone
) -> Draft:
    """Guess a study from the columns of its table.

    Parameters
    ----------
    columns : sequence of Column
    source : str
        Name of the file.
    given : dict of str to str
        Columns by part, where the user names them: ``patient``, ``therapist``, ``arm``,
        ``moderator``.
    ask : callable
        Gives the answer to a question.

    Returns
    -------
    Draft
        What it could not decide is in `Draft.undecided`.

    Raises
    ------
    InputError
        If a column that is given is not there.
    """
    there = {column.name: column for column in columns}
    for part, name in given.items():
        if name not in there:
            raise InputError(
                f"The {part} column {name!r} is not in {source}.", nearest(name, there)
            )
    return _Drafting(there, Draft(source, f"Trial of {source}"), given, ask).draft()


class _Drafting:
    """One pass over the columns; each step takes columns away from the later ones."""

    def __init__(
        self, columns: dict[str, Column], draft: Draft, given: dict[str, str], ask: Ask
    ) -> None:
        self.columns = columns
        self.left = {name: column for name, column in columns.items() if column.filled}
        self.made = draft
        self.given = given
        self.ask = ask

    def draft(self) -> Draft:
        self._patient()
        self._arm()
        self._therapist()
        self._clinic()
        self._alliance()
        for name in [name for name, each in self.left.items() if len(each.levels) < 2]:
            del self.left[name]  # says nothing
        groups = measures(self.left)
        if self.made.moderator is None and not self.made.items:
            self._moderator_of_baselines(groups)
        self._outcomes(groups)
        self._covariates()
        self._designs()
        self._missing()
        self.made.unused = list(self.left)
        return self.made

    def _take(self, part: str, name: str) -> None:
        self.left.pop(name, None)

    def _ranked(self, vocabulary: tuple[str, ...], fits: Callable[[Column], bool]) -> list[str]:
        """Columns with a word of a vocabulary in the name, or else in their title; surest first."""
        found = []
        for place, (name, column) in enumerate(self.left.items()):
            own = rank(name, vocabulary)
            titled = rank(column.title, vocabulary) if own is None and column.title else None
            order = own if own is not None else None if titled is None else titled + 100
            if order is not None and fits(column):
                found.append((order, place, name))
        return [name for *_, name in sorted(found)]

    def _choose(self, part: str, what: str, found: list[str], others: Iterable[str]) -> str | None:
        """The column that is given, or the surest one, or what the user answers; "" is none."""
        if part in self.given:
            return self.given[part]
        default = found[0] if found else ""
        choices = tuple(dict.fromkeys([*found, *others]))
        if not choices:
            return None
        text = f"Which column holds {what}?"
        answer = self.ask(Question(text, default, ("", *choices)))
        return answer or None

    def _why(self, part: str, name: str, told: str) -> str:
        if part in self.given:
            return "as given"
        column = self.columns[name]
        by_title = column.title and rank(name, VOCABULARIES[part]) is None
        return f"by its {'label' if by_title else 'name'}{f'; {told}' if told else ''}"

    def _patient(self) -> None:
        def fits(column: Column) -> bool:
            return column.unique

        found = self._ranked(names.PATIENT, fits)
        others = [n for n, c in self.left.items() if c.unique and not (c.numeric and not c.whole)]
        if not found:
            first = others[:1]
            found = first if first and first[0] == next(iter(self.left), None) else []
        name = self._choose("patient", "the patients' ids", found, others)
        if name is not None:
            column = self.columns[name]
            told = "every row has its own" if column.unique else "not every row has its own"
            self.made.patient = Guess(name, self._why("patient", name, told))
            self._take("patient", name)

    def _arm(self) -> None:
        def fits(column: Column) -> bool:
            return 2 <= len(column.levels) <= MOST_ARMS

        found = self._ranked(names.ARM, fits)
        if not found:
            found = [name for name, each in self.left.items() if fits(each) and _like_arms(each)]
        others = [name for name, each in self.left.items() if fits(each)]
        name = self._choose("arm", "the arms", found, others)
        if name is None:
            listed = ", ".join(others) or "none has two to eight values"
            self.made.undecided.append(
                "No column is named for the arms, or holds names of treatments. Name it: "
                f'`arm="COLUMN"` (columns with few values: {listed}).'
            )
            return
        column = self.columns[name]
        told = f"{len(column.levels)} values"
        why = self._why("arm", name, told)
        if "arm" not in self.given and rank(name, names.ARM) is None and not column.title:
            why = "its values are names of treatments"
        self.made.arm = Guess(name, why)
        self._take("arm", name)
        codes = sorted(column.levels, key=lambda code: not _is_control(code, column))
        first = codes[0]
        control = _is_control(first, column)
        self.made.arms_why = (
            "the comparator first, so that contrasts are treatment minus comparator"
            if control
            else "order of display; contrasts are a later arm minus an earlier one"
        )
        labels = [column.labels.get(code) or code for code in codes]
        if len(set(labels)) < len(labels):
            labels = codes
        for place, code in enumerate(codes):
            question = Question(f"What do readers call the arm {code!r}?", labels[place])
            answer = self.ask(question)
            labels[place] = answer if answer and answer not in labels else labels[place]
        self.made.arms = dict(zip(codes, labels, strict=True))

    def _therapist(self) -> None:
        rows = len(next(iter(self.columns.values())).codes)

        def fits(column: Column) -> bool:
            return FEWEST_THERAPISTS <= len(column.levels) <= column.filled / 2

        found = self._ranked(names.THERAPIST, fits)
        named = bool(found)
        if not found:
            found = [
                name
                for name in self._ranked(names.CLUSTER, fits)
                if len(self.columns[name].levels) >= FEWEST_CLUSTERS
            ]
            # The smaller units first: classes are within schools.
            found.sort(key=lambda name: -len(self.columns[name].levels))
        others = [
            name
            for name, each in self.left.items()
            if fits(each) and (each.whole or not each.numeric) and len(each.levels) > 2
        ]
        name = self._choose("therapist", "the therapists", found, others)
        if name is None:
            return
        column = self.columns[name]
        told = f"{len(column.levels)} of them for {column.filled} of {rows} patients"
        why = self._why("therapist", name, told)
        if not named and "therapist" not in self.given:
            why = f"no column is named for therapists; patients come in {len(column.levels)} groups"
        if column.asked:
            why += f"; {', '.join(column.asked)} counts as one too, if it is not declared missing"
        self.made.therapist = Guess(name, why)
        self._take("therapist", name)

    def _clinic(self) -> None:
        """A level above the therapists: fewer groups than there are therapists."""
        if self.made.therapist is None:
            return
        therapists = len(self.columns[self.made.therapist.value].levels)

        def fits(column: Column) -> bool:
            return FEWEST_CLUSTERS <= len(column.levels) < therapists

        found = self._ranked(names.CLUSTER, fits)
        name = self._choose("clinic", "the clinics or centres", found, []) if found else None
        if name is None:
            return
        column = self.columns[name]
        told = f"{len(column.levels)} of them, above {therapists} therapists"
        self.made.clinic = Guess(name, self._why("clinic", name, told))
        self._take("clinic", name)

    def _alliance(self) -> None:
        if "moderator" in self.given:
            name = self.given["moderator"]
            self._set_moderator(name, "as given")
            return

        def fits(column: Column) -> bool:
            return column.numeric and len(column.levels) > 2

        found = self._ranked(names.ALLIANCE, fits)
        items = items_among([self.columns[name] for name in found])
        totals = [name for name in found if name not in {each.name for each in items}]
        totals.sort(key=lambda name: _total_order(name, self.columns[name]))
        if totals:
            chosen = self._choose("moderator", "the alliance (its total)", totals[:1], totals[1:])
            if chosen is not None:
                self._set_moderator(chosen, self._why("moderator", chosen, ""))
        elif len(items) >= FEWEST_ITEMS:
            self._score_items(items)
        for name in [*totals, *(each.name for each in items)]:
            self._take("moderator", name)  # of the same questionnaire: no outcome, no covariate

    def _set_moderator(self, name: str, why: str) -> None:
        column = self.columns[name]
        self.made.moderator = Guess(name, why)
        self.made.moderator_label = column.title or name
        found = range_of([column], f"{name} {column.title}")
        self.made.moderator_range = self._asked_range(name, found)
        self._take("moderator", name)

    def _asked_range(
        self, name: str, found: Guess[tuple[float, float]]
    ) -> Guess[tuple[float, float]]:
        text = f"Lowest and highest possible score of {name!r}?"
        default = ", ".join(f"{end:.12g}" for end in found.value)
        answer = self.ask(Question(text, default, range=True))
        ends = ends_of(answer)
        return found if ends is None or answer == default else Guess(ends, "as answered")

    def _score_items(self, items: Sequence[Column]) -> None:
        self.made.items = tuple(each.name for each in items)
        low = min(float(each.finite.min()) for each in items)
        high = max(float(each.finite.max()) for each in items)
        coded = [float(code) for each in items for code in each.labels if is_number(code)]
        low, high = min([low, *coded]), max([high, *coded])
        self.made.item_range = (low, high)
        answers = np.array([each.values for each in items])
        complete = answers[:, np.isfinite(answers).all(axis=0)]
        turned: list[str] = []
        if complete.shape[1] > len(items):
            centred = complete - complete.mean(axis=1, keepdims=True)
            against = against_the_rest(centred @ centred.T, complete.shape[1])
            turned = [items[k].name for k in against]
        why = "they run against the rest" if turned else "no item runs against the rest"
        answer = self.ask(
            Question(
                "Which items are scored the other way round (their high end means a low total)?",
                ", ".join(turned),
                self.made.items,
                several=True,
            )
        )
        reverse = tuple(part.strip() for part in answer.split(",") if part.strip())
        self.made.reverse = Guess(reverse, why if list(reverse) == turned else "as answered")
        self.made.moderator_label = _common_start(self.made.items) or "Alliance"
        count = len(items)
        self.made.moderator_range = Guess(
            (count * low, count * high), f"{count} items of {low:g} to {high:g}"
        )

    def _moderator_of_baselines(self, groups: Measures) -> None:
        """Without an alliance the first outcome's baseline stands in its place, as in ANCOVA."""
        for group in surest(groups).values():
            before = before_treatment(group)
            after = [name for name in group if name not in before]
            if not before or not after or len(self.columns[before[0]].levels) <= 2:
                continue
            why = (
                "no column is named for the alliance: the baseline score stands in its place; "
                "leave out this table for a trial without one"
            )
            choices = tuple(n for n, c in self.left.items() if c.numeric and len(c.levels) > 2)
            question = Question(
                "No column is named for the alliance. Which measure may change the treatment's "
                "effect?",
                before[0],
                ("", *choices),
            )
            if not (name := self.ask(question)):
                return
            self._set_moderator(name, why if name == before[0] else "as answered")
            self.made.moderator_is_baseline = name == before[0]
            if name == before[0] and self.made.moderator_range.why == ROUNDED:
                self.made.moderator_range = range_of([self.columns[n] for n in group], name)
            return

    def _outcomes(self, groups: Measures) -> None:
        for stem, group in surest(groups).items():
            before = before_treatment(group)
            after = sorted(
                (name for name in group if name not in before),
                key=lambda name: in_time(group[name]),
            )
            if not after and len(before) == 1 and not group[before[0]].kind:
                before, after = [], before
            if not after:
                continue
            if len(after) > MOST_FOLLOWUPS:
                kept = after[-1:]
                others = tuple(name for name in after if name not in kept)
            else:
                kept, others = after, ()
            baseline = None
            if before and before[0] in self.left and before[0] not in kept:
                why = "measured before treatment, by its name"
                if group[before[0]].kind == "alone":
                    why = "named as a baseline, and goes with this outcome best"
                baseline = Guess(before[0], why)
            baseline = self._asked_baseline(kept[0], baseline)
            for name in kept:
                self._outcome(stem, name, group, baseline, others)
            for name in (*group, *([] if baseline is None else [baseline.value])):
                self._take("outcome", name)
        if not self.made.outcomes:
            numbers = [n for n, c in self.left.items() if c.numeric and len(c.levels) > 2]
            self.made.undecided.append(
                "No column is named for an outcome, with a time such as _pre, _post, _8w or _t2. "
                f"Add a table [outcomes.NAME] (columns of numbers: {', '.join(numbers) or 'none'})."
            )

    def _asked_baseline(self, followup: str, found: Guess[str] | None) -> Guess[str] | None:
        default = "" if found is None else found.value
        choices = [n for n, c in self.left.items() if c.numeric and n != followup]
        text = f"Which column is {followup!r} before treatment?"
        answer = self.ask(Question(text, default, ("", *choices)))
        if answer == default:
            return found
        return Guess(answer, "as answered") if answer in choices else None

    def _outcome(
        self,
        stem: str,
        name: str,
        group: dict[str, Timed],
        baseline: Guess[str] | None,
        others: tuple[str, ...],
    ) -> None:
        column = self.columns[name]
        event = _event(column) if len(column.levels) == 2 else None
        if event is not None and baseline is not None:  # a logistic model has none of its own
            self._adjust(baseline.value, f"{baseline.why}; of an outcome of two values")
            baseline = None
        same = [self.columns[each] for each in group if group[each].kind != "alone"]
        if baseline is not None and baseline.value not in {each.name for each in same}:
            same = [*same, self.columns[baseline.value]]
        better = self._better(stem, column, self.columns[baseline.value] if baseline else None)
        mark = group[name].mark
        ends = range_of(same, f"{stem} {column.title}")
        if event is None:
            ends = self._asked_range(name, ends)
        self.made.outcomes.append(
            OutcomeGuess(
                name=outcome_name(stem or "score", mark, [o.name for o in self.made.outcomes]),
                label=column.title or (f"{_measured(name, stem)} ({mark})" if mark else name),
                followup=Guess(name, "by its name" if mark else "the name of a score"),
                baseline=baseline,
                range=ends,
                better=better,
                others=others,
                event=event,
            )
        )

    def _adjust(self, name: str, why: str) -> None:
        """Take a column of before treatment among the covariates."""
        if name not in self.made.covariates and name in self.left:
            two = len(self.columns[name].levels) == 2
            (self.made.categorical if two else self.made.continuous).append(name)
            self._adjust_for(name, why)

    def _adjust_for(self, name: str, why: str) -> None:
        self.made.covariates[name] = why
        if self.columns[name].title:
            self.made.covariate_labels[name] = self.columns[name].title
        self._take("covariate", name)

    def _better(self, stem: str, column: Column, baseline: Column | None) -> Guess[str]:
        told = f"{stem} {column.title}"
        for direction, vocabulary in (("lower", names.LOWER), ("higher", names.HIGHER)):
            if rank(told, vocabulary) is not None:
                return self._asked_better(column, direction, "by its name")
        if baseline is None and self.made.moderator_is_baseline and self.made.moderator:
            baseline = self.columns[self.made.moderator.value]
        if baseline is not None and len(baseline.finite) and len(column.finite):
            change = float(np.nanmean(column.values) - np.nanmean(baseline.values))
            verb = "fall" if change < 0 else "rise"
            why = f"NOT KNOWN: scores {verb} after treatment on average; turn it round if wrong"
            return self._asked_better(column, "lower" if change < 0 else "higher", why)
        return self._asked_better(column, "higher", "NOT KNOWN: turn it round if wrong")

    def _asked_better(self, column: Column, default: str, why: str) -> Guess[str]:
        question = Question(
            f"Which score of {column.name!r} is better?", default, ("higher", "lower")
        )
        answer = self.ask(question)
        return Guess(answer, why if answer == default else "as answered")

    def _covariates(self) -> None:
        for name in self._ranked(names.COVARIATE, lambda column: True):
            column = self.columns[name]
            mark = timed(name)
            if (mark.kind and not mark.first and mark.kind != "number") or scored(name):
                continue
            by_name = rank(name, names.COVARIATE) is not None
            why = f"by its {'name' if by_name else 'label'}"
            category = column.labelled or not column.numeric
            if category and len(column.levels) > MOST_COVARIATE_LEVELS:
                continue
            if (
                column.numeric
                and not category
                and 3 <= len(column.levels) <= MOST_ARMS
                and (column.whole)
            ):
                default = "categories"
                answer = self.ask(
                    Question(
                        f"Are the values of {name!r} ({', '.join(column.levels)}) categories, or "
                        "numbers?",
                        default,
                        ("categories", "numbers"),
                    )
                )
                category = answer == "categories"
                why += f"; {len(column.levels)} whole numbers, taken as codes" if category else ""
            elif column.labelled:
                why += "; the file labels its values"
            if category and len(column.levels) > MOST_COVARIATE_LEVELS:
                continue
            if category or len(column.levels) == 2:
                self.made.categorical.append(name)
            else:
                self.made.continuous.append(name)
            self._adjust_for(name, why)

    def _designs(self) -> None:
        """Arms whose patients have no therapist, or no alliance."""
        if self.made.arm is None:
            return
        arm = self.columns[self.made.arm.value].codes

        def lacking(column: Column) -> tuple[str, ...]:
            empty = np.array([code is None for code in column.codes])
            return tuple(code for code in self.made.arms if empty[arm == code].all())

        everywhere = len(self.made.arms)
        if self.made.therapist is not None:
            none = lacking(self.columns[self.made.therapist.value])
            self.made.without_therapist = none if len(none) < everywhere else ()
        rated = [self.made.moderator.value] if self.made.moderator else list(self.made.items)
        if rated:
            none = lacking(self.columns[rated[0]])
            if 0 < len(none) < everywhere:
                self.made.moderator_arms = tuple(
                    code for code in self.made.arms if code not in none
                )

    def _missing(self) -> None:
        """Codes of missing values in the columns that are used."""
        used = [self.made.moderator, *(o.followup for o in self.made.outcomes), self.made.arm]
        used += [o.baseline for o in self.made.outcomes]
        columns = [*(each.value for each in used if each is not None), *self.made.items]
        columns += self.made.covariates
        for name in dict.fromkeys(columns):
            column = self.columns[name]
            if not column.missing:
                continue
            kept = column.missing
            why = "the file labels them so, or they are no numbers"
            if column.asked:
                why = "known codes, far from the other values"
                question = Question(
                    f"Which of these values of {name!r} mean that nothing is known?",
                    ", ".join(column.missing),
                    column.missing,
                    several=True,
                )
                kept = tuple(p.strip() for p in self.ask(question).split(",") if p.strip())
            if kept:
                self.made.missing[name] = Guess(kept, why)


# Values of which one says by itself that the event happened.
PLAIN_EVENTS = (("yes", "no"), ("y", "n"), ("true", "false"), ("present", "absent"))

VOCABULARIES = {
    "patient": names.PATIENT,
    "therapist": (*names.THERAPIST, *names.CLUSTER),
    "clinic": names.CLUSTER,
    "arm": names.ARM,
    "moderator": names.ALLIANCE,
}


def _like_arms(column: Column) -> bool:
    texts = [column.labels.get(code, code) for code in column.levels]
    known = [
        rank(text, (*names.TREATED, *names.CONTROL[:-1])) is not None
        for text in texts
        if not is_number(text)
    ]
    return len(known) == len(texts) and sum(known) >= min(2, len(texts))


def _is_control(code: str, column: Column) -> bool:
    return rank(column.labels.get(code, code), names.CONTROL) is not None


def _total_order(name: str, column: Column) -> tuple[bool, bool, bool, float]:
    parts = words(f"{name} {column.title}")
    total = any(rank(part, names.TOTAL) is not None for part in parts)
    part = any(each in parts for each in NOT_LIKE_ALLIANCE)
    by_therapist = rank(name, names.THERAPIST) is not None
    return part, not total, by_therapist, timed(name).time


def _common_start(texts: Sequence[str]) -> str:
    start = texts[0]
    for text in texts[1:]:
        while not text.startswith(start):
            start = start[:-1]
    return start.rstrip(" _.-0123456789").upper()


def _event(column: Column) -> Guess[str]:
    """What stands for the event of a column of two values; empty where the values say it."""
    texts = {code: column.labels.get(code, code).casefold() for code in column.levels}
    if set(texts.values()) in ({"0", "1"}, *({one, other} for one, other in PLAIN_EVENTS)):
        return Guess("", "two values")
    named = [code for code, text in texts.items() if rank(text, names.EVENT) is not None]
    if len(named) == 1:
        return Guess(named[0], "by its value or label")
    return Guess(column.levels[-1], "NOT KNOWN: write the value where the event happened")


def _measured(name: str, stem: str) -> str:
    """What a column measures, as its name spells it."""
    start = name.lower().find(stem) if stem else -1
    return name[start : start + len(stem)] if start >= 0 else "Score"


def outcome_name(stem: str, mark: str, taken: Sequence[str]) -> str:
    """A name for tables and files: letters, digits and underscores.

    Parameters
    ----------
    stem, mark : str
        What is measured, and when.
    taken : sequence of str
        Names of other outcomes.
    """
    apart = normalize("NFKD", f"{stem}_{mark}".lower())  # è is e and its accent
    letters = "".join(letter for letter in apart if not combining(letter))
    plain = re.sub(r"[^a-z0-9]+", "_", letters).strip("_") or "outcome"
    if not OUTCOME_NAME.fullmatch(plain):
        plain = f"score_{plain}"
    if plain.lower() in RESERVED_NAMES:
        plain = f"{plain}_score"
    name, number = plain, 2
    while name in taken:
        name, number = f"{plain}_{number}", number + 1
    return name
