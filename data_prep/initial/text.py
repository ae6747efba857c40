"""The first study file and the first file of published findings, with the reason of each guess."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alliance.data_prep.initial.draft import Draft, OutcomeGuess
from alliance.data_prep.levels import contrast_names, quoted
from alliance.data_prep.study.rules import BARE_KEY
from alliance.data_prep.tables.cells import number_of

NOT_FOUND = {
    "patient": "no column holds ids, and rows are taken for patients",
    "therapist": "no column is named for therapists",
    "arm": "NOT DECIDED; write arm = and the column, and its codes below",
}
COMMENTS_FROM = 40  # column in which a guess's reason stands, where there is room for it
LINE_LENGTH = 100


# How the files begin, by which they are known again.
MARKS = (
    "# A first draft, made by `alliance init` from",
    "# What was published of this trial, to be set beside the model's answers",
)


def draft_text(draft: Draft) -> str:
    """TOML of a first study, of which every guess is marked with its reason.

    Parameters
    ----------
    draft : Draft

    Returns
    -------
    str
        It holds names of columns, codes of arms and ranges, and no patient's data.
    """
    return "\n".join(_study_lines(draft)).replace("\n\n\n", "\n\n") + "\n"


def _study_lines(draft: Draft) -> Iterator[str]:
    yield f"{MARKS[0]} {_plain(draft.source)}."
    yield "# Behind a # stands why a line was guessed: read them all, and correct what is wrong."
    for sentence in draft.undecided:
        yield f"# NOT DECIDED: {_plain(sentence)}"
    yield ""
    yield _line("title", quoted(draft.title), "say in one line which trial this is")
    yield from _covariate_lines(draft)
    yield ""
    yield "[columns]"
    for part, guess in (
        ("patient", draft.patient),
        ("therapist", draft.therapist),
        *([("clinic", draft.clinic)] if draft.clinic is not None else []),
        ("arm", draft.arm),
    ):
        if guess is not None:
            yield _line(part, quoted(guess.value), guess.why)
        else:
            yield f"# {part}: {NOT_FOUND[part]}"
    yield ""
    yield f"[arms]  # code = label; {draft.arms_why}" if draft.arms_why else "[arms]"
    for code, label in draft.arms.items():
        yield _line(_key(code), quoted(label), "write what readers call it" * (code == label))
    yield from _moderator_lines(draft)
    for outcome in draft.outcomes:
        yield from _outcome_lines(outcome, draft)
    yield from _missing_lines(draft)
    yield from _model_lines(draft)
    if draft.unused:
        yield ""
        yield "# Columns without a part: " + ", ".join(map(_plain, draft.unused)) + "."


def _covariate_lines(draft: Draft) -> Iterator[str]:
    if not draft.covariates:
        return
    listed = ", ".join(map(quoted, draft.covariates))
    yield ""
    yield "# Columns to adjust for: those of before treatment, and no others."
    yield f"covariates = [{listed}]"
    for name, why in draft.covariates.items():
        yield f"#   {_plain(name)}: {_plain(why)}"
    for kind, names in (("categorical", draft.categorical), ("continuous", draft.continuous)):
        if names:
            yield f"{kind} = [{', '.join(map(quoted, names))}]"
    if draft.covariate_labels:
        told = ", ".join(f"{_key(n)} = {quoted(own)}" for n, own in draft.covariate_labels.items())
        yield f"labels = {{ {told} }}  # as the file calls them; what readers call them"


def _moderator_lines(draft: Draft) -> Iterator[str]:
    if draft.moderator is None and not draft.items:
        return
    yield ""
    yield "[moderator]"
    if draft.moderator_is_baseline:
        yield _line("name", quoted("starting score"), "")
    yield _line("label", quoted(draft.moderator_label), "write what readers call it")
    if draft.moderator is not None:
        yield _line("column", quoted(draft.moderator.value), draft.moderator.why)
    else:
        listed = ", ".join(map(quoted, draft.items))
        yield f"items = [{listed}]  # by their names; numbered, on one scale"
        turned = ", ".join(map(quoted, draft.reverse.value))
        yield _line("reverse", f"[{turned}]", draft.reverse.why)
        yield _line("item_range", _range(draft.item_range), "by their answers and labels")
        most = max(1, len(draft.items) // 5)
        yield _line("max_missing", str(most), "a fifth of the items; more unanswered: no total")
    yield _line("range", _range(draft.moderator_range.value), draft.moderator_range.why)


def _outcome_lines(outcome: OutcomeGuess, draft: Draft) -> Iterator[str]:
    yield ""
    yield f"[outcomes.{outcome.name}]"
    yield _line("label", quoted(outcome.label), "write what readers call it")
    if outcome.baseline is not None:
        own = draft.moderator is not None and outcome.baseline.value == draft.moderator.value
        if own:
            yield "# no baseline: the moderator is that column already"
        else:
            yield _line("baseline", quoted(outcome.baseline.value), outcome.baseline.why)
    yield _line("followup", quoted(outcome.followup.value), outcome.followup.why)
    if outcome.others:
        yield f"# also measured: {', '.join(map(_plain, outcome.others))}"
    if outcome.event is None:
        yield _line("range", _range(outcome.range.value), outcome.range.why)
    else:
        yield _line("family", quoted("binary"), "two values")
        if outcome.event.value:
            yield _line("event", quoted(outcome.event.value), outcome.event.why)
    yield _line("better", quoted(outcome.better.value), outcome.better.why)


def _missing_lines(draft: Draft) -> Iterator[str]:
    if not draft.missing:
        return
    yield ""
    yield "[missing_values]"
    for name, guess in draft.missing.items():
        codes = ", ".join(
            code if number_of(code) is not None else quoted(code) for code in guess.value
        )
        yield _line(_key(name), f"[{codes}]", guess.why)


def _model_lines(draft: Draft) -> Iterator[str]:
    lines = []
    for key, arms, why in (
        ("without_therapist", draft.without_therapist, "no patient of the arm has a therapist"),
        ("moderator_arms", draft.moderator_arms, "no patient of the other arms has the measure"),
    ):
        if arms:
            lines.append(_line(key, f"[{', '.join(map(quoted, arms))}]", why))
    if lines:
        yield from ("", "[model]", *lines)
    if draft.moderator_is_baseline:
        yield ""
        yield "[priors]"
        why = "a baseline's own slope may be near 1; the default of 0.3 is made for an alliance"
        yield _line("moderator_slope", "1.0", why)


def _line(key: str, value: str, why: str) -> str:
    line = f"{key} = {value}"
    if not why:
        return line
    beside = f"{line:<{COMMENTS_FROM}}  # {_plain(why)}"
    return beside if len(beside) <= LINE_LENGTH else f"# {_plain(why)}\n{line}"


def _plain(text: str) -> str:
    """Text for a comment: on one line, and without what TOML does not allow there."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def _key(name: str) -> str:
    return name if BARE_KEY.fullmatch(name) else quoted(name)


def _range(ends: tuple[float, float]) -> str:
    return f"[{ends[0]:.12g}, {ends[1]:.12g}]"


def published_text(outcomes: Sequence[str], arms: Sequence[str]) -> str:
    """TOML to be filled in with published findings; all of it is comment until then.

    Parameters
    ----------
    outcomes, arms : sequence of str
        Names of outcomes, and codes of arms in display order.
    """
    lines = [
        f"{MARKS[1]} by",
        "# `alliance compare`. Take the # from the lines of a finding and fill it in; a finding is",
        "# left out as long as it is a comment. The keys: docs/study-file.md.",
    ]
    for outcome in outcomes:
        for quantity, what in (
            ("arm_contrast", "difference of means at follow-up"),
            ("interaction", "difference of the moderator's slopes"),
        ):
            every = contrast_names(tuple(arms))
            for name in (name for (later, earlier), name in every.items() if later > earlier):
                lines += [
                    "",
                    f"# {what}, {name}",
                    "# [[finding]]",
                    f"# outcome = {quoted(outcome)}",
                    f"# quantity = {quoted(quantity)}",
                    f"# level = {quoted(name)}",
                    '# claim = "number"     # or "present", "absent" where no number is printed',
                    "# estimate = ",
                    "# lower = ",
                    "# upper = ",
                    '# known_by = "abstract"',
                    '# source = "Author, Journal year;volume:pages"',
                ]
    return "\n".join(lines) + "\n"
