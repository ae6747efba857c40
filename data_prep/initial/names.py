"""What names of columns say: roles, times, instruments and directions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-zß-ÿ]+|\d+")


def words(text: str) -> list[str]:
    """Words and numbers in a name, in small letters.

    Examples
    --------
    >>> words("WAI_Total"), words("hamdPre"), words("psfs_8w")
    (['wai', 'total'], ['hamd', 'pre'], ['psfs', '8', 'w'])
    """
    return [part.lower() for part in _PARTS.findall(text)]


def _vocabulary(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Words of names by role, the surest first; a word that ends in * may go on.
PATIENT = _vocabulary(
    "patient patientid patid pat_id usubjid subjid subject subjectid participant participantid "
    "pid ptid patientnr patnr proband* teilnehmer* paciente* sujet* client clientid case caseid "
    "record_id recordid respondent id nr"
)
THERAPIST = _vocabulary(
    "therapist* therapeut* thérapeute* terapeut* clinician* counsellor* counselor* practitioner* "
    "psychologist* physiotherap* physio acupuncturist* investigator* poolinv behandler* provider* "
    "coach* nurse* doctor* physician* ther thera therid tid inv invid"
)
CLUSTER = _vocabulary(
    "clinic clinicid class classroom practice practice_id ward centre center site siteid school "
    "hospital zentrum praxis"
)
ARM = _vocabulary(
    "arm armcd trt01p treatment_arm treatment treat trt trtp tx randomised randomized rand "
    "randomisation allocation alloc condition cond intervention group grp therapy therapie "
    "gruppe behandlung bras groupe traitement brazo grupo tratamiento gruppo trattamento groep"
)
VISIT = _vocabulary(
    "avisit visit visitnum timepoint time wave session occasion week month zeitpunkt visite"
)
ALLIANCE = _vocabulary("alliance wai wais waisr wai_sr watoci haq calpas allianz alianza bond srs")
TREATED = _vocabulary("cbt therapy active drug treatment intervention exercise verum act ipt")
CONTROL = _vocabulary(
    "placebo pbo control* ctrl tau usual waitlist* waiting wl wlc standard none attention "
    "kontrolle warteliste 0"
)
TOTAL = _vocabulary("total tot sum summe gesamt overall score mean")
COVARIATE = _vocabulary(
    "age alter edad âge sex gender geschlecht sexo sexe female male edu educ education schooling "
    "marital married employment employed work ethnic* race migraine chronicity duration diagnosis "
    "diagnos* comorbid* smok* medication medicat* bmi severity episodes previous income region "
    "livingalone insurance stratum strat*"
)
EVENT = _vocabulary(
    "yes remission remitted response responder responded recovered relapse relapsed dropout "
    "dropped event died dead case abstinent improved ja oui si"
)
HIGHER = _vocabulary(
    "function* psfs gpe quality qol eq eqvas eq5d sf12 sf36 wellbeing well who5 satisfaction "
    "improve* recover* response respond* remission remitted abstinent fev fev1 gaf"
)
LOWER = _vocabulary(
    "pain schmerz* dolor douleur depress* bdi phq phq9 gad gad7 anx* bai hamd hdrs hamdtl hamatotl "
    "hama madrs distress symptom* disab* odi rmdq headache* core oq oq45 scl bsi severity impair* "
    "vas nrs pcl caps ies cgi pgi pgiimp relapse* dropout smok* ftnd panss sds ymrs psqi isi "
    "stress pss worry pswq"
)
SCORES = (*HIGHER, *LOWER, "score", "rating", "outcome")

# Lowest and highest score of instruments that are scored in one way everywhere, and who says so.
INSTRUMENTS: dict[str, tuple[float, float, str]] = {
    "bdi": (0, 63, "Beck Depression Inventory: 21 items of 0 to 3"),
    "phq9": (0, 27, "PHQ-9: 9 items of 0 to 3"),
    "gad7": (0, 21, "GAD-7: 7 items of 0 to 3"),
    "madrs": (0, 60, "MADRS: 10 items of 0 to 6"),
    "rmdq": (0, 24, "Roland-Morris: 24 items of 0 or 1"),
    "bai": (0, 63, "Beck Anxiety Inventory: 21 items of 0 to 3"),
    "isi": (0, 28, "Insomnia Severity Index: 7 items of 0 to 4"),
}


def rank(text: str, vocabulary: tuple[str, ...]) -> int | None:
    """Place of the surest word of a vocabulary in a name; None if it has none of them.

    Examples
    --------
    >>> rank("Therapist_ID", THERAPIST), rank("THERAPY", THERAPIST), rank("therapy", ARM) is None
    (0, None, False)
    """
    parts = words(text)
    joined = {text.lower().strip(), "".join(parts), *parts}
    joined |= {"".join(pair) for pair in pairwise(parts)}
    joined |= {"_".join(pair) for pair in pairwise(parts)}
    for place, word in enumerate(vocabulary):
        stem = word.removesuffix("*")
        if any(part == word or (stem != word and part.startswith(stem)) for part in joined):
            return place
    return None


BEFORE, AFTER, LATER, UNMARKED = 0.0, 1000.0, 2000.0, -1.0
_WEEKS = {"w": 1.0, "m": 52 / 12, "d": 1 / 7, "y": 52.0}
_UNIT = r"(?P<unit>w(?:k|eeks?)?|m(?:o|on|onths?)?|d(?:ays?)?|y(?:rs?|ears?)?)"
_MARK = (
    rf"(?:(?P<before>pre|prä|prae|baseline|basal|base|bl|bas|intake|vorher|screening"
    rf"|(?<![^\W\d_])(?:before|avant|antes|prima|voor))"
    rf"|(?P<after>post|nach|nachher|eot|end|ende|final|discharge|posttreatment"
    rf"|(?<![^\W\d_])(?:after|apr[eè]s|despu[eé]s|depois|dopo))"
    rf"|(?P<later>f(?:ollow)?[ _.-]?up?|kat(?:amnese)?)(?P<later_number>\d*)"
    rf"|(?<![^\W\d_])(?P<visit>t|v|vis|visit|time|wave|session)[ _.-]?(?P<visit_number>\d+)"
    rf"|(?<![^\W\d_]){_UNIT}[ _.-]?(?P<unit_number>\d+)"
    rf"|(?P<number_unit>\d+)[ _.-]?{_UNIT.replace('unit', 'unit_after')}"
    rf"|(?P<number>\d+))"
)
_BRACKETS = re.compile(r"[()\[\]{}]")
_ANY = re.IGNORECASE | re.DOTALL
_SUFFIX = re.compile(rf"(?P<stem>.*?[^\W_])(?P<between>[ _.\-]*){_MARK}", _ANY)
_PREFIX = re.compile(
    rf"{_MARK}(?P<between>[ _.\-]+)(?P<stem>[^\W\d_].*)", re.IGNORECASE | re.DOTALL
)
_BASELINE_ALONE = re.compile(r"(base?(line)?|bl|pre)[ _.-]?(val(ue)?|score)?", re.IGNORECASE)
# Marks that stand without a sign between them and what is measured: "bdipre", "pain8w", "pk1".
_GLUED = ("before", "after", "later", "number_unit", "number")
_FEWEST_LETTERS = 2  # of a name before a mark that is glued to it


@dataclass(frozen=True, slots=True)
class Timed:
    """What is measured, and when.

    Attributes
    ----------
    stem : str
        The name without its mark of time, in small letters.
    time : float
        Weeks, or the number of the visit; `BEFORE`, `AFTER` treatment, `LATER`, or `UNMARKED`.
    mark : str
        The mark as it stands in the name.
    kind : str
        Of the mark: ``before``, ``after``, ``later``, ``visit``, ``unit``, ``number`` or empty.
    """

    stem: str
    time: float
    mark: str
    kind: str

    @property
    def first(self) -> bool:
        """Whether the mark is that of a measurement before treatment: pre, 0, visit 1."""
        return self.time == BEFORE or (self.kind in ("visit", "number") and self.time == 1)


def timed(name: str) -> Timed:
    """Tell what a name measures, and when.

    Examples
    --------
    >>> timed("psfs_8w").time, timed("PHQ9_pre").stem, timed("t2_bdi").time, timed("bdi").kind
    (8.0, 'phq9', 2.0, '')
    """
    name = _BRACKETS.sub(" ", name).strip()
    alone = re.fullmatch(_MARK, name, re.IGNORECASE)
    if alone is not None and (alone["before"] or alone["after"] or alone["later"]):
        marks = {key: text for key, text in alone.groupdict().items() if text}
        return Timed("", *_time(marks, name))
    for pattern in (_SUFFIX, _PREFIX):
        found = pattern.fullmatch(name)
        if found is None:
            continue
        marks = {key: text for key, text in found.groupdict().items() if text}
        stem, glued = marks["stem"].strip(" _.-").lower(), not found["between"]
        if glued and not (set(marks) & set(_GLUED) and len(stem) >= _FEWEST_LETTERS):
            continue
        rest = found.group(0)
        mark = rest[len(found["stem"]) :] if pattern is _SUFFIX else rest[: -len(found["stem"])]
        return Timed(stem, *_time(marks, mark.strip(" _.-")))
    return Timed(name.strip(" _.-").lower(), UNMARKED, "", "")


def _time(marks: dict[str, str], mark: str) -> tuple[float, str, str]:
    if "before" in marks:
        return BEFORE, mark, "before"
    if "after" in marks:
        return AFTER, mark, "after"
    if "later" in marks:
        return LATER + float(marks.get("later_number") or 0), mark, "later"
    if "visit" in marks:
        return float(marks["visit_number"]), mark, "visit"
    unit = marks.get("unit") or marks.get("unit_after")
    if unit:
        number = float(marks.get("unit_number") or marks["number_unit"])
        return number * _WEEKS[unit[0].lower()], mark, "unit"
    return float(marks["number"]), mark, "number"


def baseline_alone(name: str) -> bool:
    """Whether a name says that it is a score before treatment, and not of what.

    Examples
    --------
    >>> baseline_alone("BASVAL"), baseline_alone("baseline"), baseline_alone("bdi_pre")
    (True, True, False)
    """
    return _BASELINE_ALONE.fullmatch(name.strip()) is not None
