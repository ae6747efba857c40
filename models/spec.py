"""What is to be fitted, without any data: the outcome, the terms of the model and the priors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from alliance.data_prep.errors import InputError
from alliance.data_prep.levels import JOINT
from alliance.data_prep.study.description import ModelSettings, Outcome, Study
from alliance.data_prep.study.rules import OWN_FAMILIES
from alliance.models.families.families import ORDINAL, ORDINAL_PROBIT
from alliance.models.nesting import Nesting
from alliance.models.prior_pack import evidence
from alliance.models.priors import InformedPriors, Priors, SlopeEvidence

WITH_RESIDUAL_SD = ("gaussian", "student_t")  # families that arms may have their own of

TherapistEffects = Literal["none", "intercept", "intercept+slope"]
EFFECTS: dict[str, tuple[str, ...]] = {
    "none": (),
    "intercept": ("intercept",),
    "intercept+slope": ("intercept", "slope"),
}
AllianceStructure = Literal["total", "within_between"]
MissingAlliance = Literal["complete_case", "impute"]
SeveralTrials = Literal["no", "varying", "fixed"]


@dataclass(frozen=True, slots=True)
class ModeratorSpec:
    """How the alliance enters the model.

    Attributes
    ----------
    structure : {"total", "within_between"}
        One slope, or one for patients within a therapist and one between therapists' true means.
    missing : {"complete_case", "impute"}
        Patients without a rating are left out, or their alliance is a parameter of the model.
    reliability : float or None
        Share of the observed variance that is true; None takes the rating for the truth.
    ceiling : float or None
        Score at which the rating is cut off: the alliance of patients who have it lies there or
        above. None takes the rating as it is.
    between_interaction : bool
        Whether the slope between therapists differs between arms, as the one within them does.
    arms : tuple of str or None
        Codes of the arms whose patients can have the alliance, in display order; empty in a plain
        trial. None where all can.
    """

    structure: AllianceStructure = "total"
    missing: MissingAlliance = "complete_case"
    reliability: float | None = None
    ceiling: float | None = None
    between_interaction: bool = False
    arms: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.between_interaction and self.structure != "within_between":
            raise InputError(
                "An interaction between therapists needs a slope between therapists.",
                'Set alliance = "within_between", or between_interaction = false.',
            )

    @property
    def latent(self) -> bool:
        """Whether some patient's alliance is a parameter."""
        return self.missing == "impute" or self.reliability is not None or self.ceiling is not None


@dataclass(frozen=True, slots=True)
class VisitSpec:
    """What an outcome at one visit has in common with that outcome at others.

    Attributes
    ----------
    outcome : str
        The outcome over time.
    visit : str
    time : float or None
    correlation : str
        Structure of the residuals' correlations: see `models.visits.covariance`.
    sd_by_visit : bool
        Whether each visit has its own residual SD.
    by_visit : tuple of str
        Kinds of coefficients that differ between visits: `models.design.encoding.Kind`.
    therapist_by_visit : bool
        Whether therapists deviate at each visit by itself.
    """

    outcome: str
    visit: str
    time: float | None = None
    correlation: str = "unstructured"
    sd_by_visit: bool = True
    by_visit: tuple[str, ...] = ("intercept", "arm", "baseline", "moderator", "interaction")
    therapist_by_visit: bool = False


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One outcome's model: a description that knows neither data nor sampler.

    Attributes
    ----------
    outcome : str
        Name of the outcome in the study.
    therapist : {"none", "intercept", "intercept+slope"}
        Which effects vary between therapists: nothing, the mean outcome, or the mean outcome and
        (correlated with it) the slope of the alliance.
    interaction : bool
        Whether the alliance's slope differs between arms.
    priors : Priors
        Scales on the standardised scale.
    family : str
        Name of an entry of `models.families.families.FAMILIES`.
    moderator : ModeratorSpec
    therapist_by_arm : bool
        Whether arm effects vary between therapists.
    clinic : {"none", "intercept", "intercept+slope"}
        Which effects vary between clinics, as `therapist`.
    without_therapist : tuple of str
        Codes of the arms that have no therapists; see `models.nesting`.
    residual_by_arm : bool
        Whether each arm has a residual SD of its own.
    visits : VisitSpec or None
        Of an outcome that is modelled together with itself at other visits.
    several_trials : {"no", "varying", "fixed"}
        Whether there are several trials, and whether arm contrasts and slopes vary between them:
        see `models.trials`.
    residual_by_trial : bool
        Whether each of several trials has a residual SD of its own.
    """

    outcome: str
    therapist: TherapistEffects = "intercept+slope"
    interaction: bool = True
    priors: Priors = field(default_factory=Priors)
    family: str = "gaussian"
    moderator: ModeratorSpec = field(default_factory=ModeratorSpec)
    therapist_by_arm: bool = False
    without_therapist: tuple[str, ...] = ()
    residual_by_arm: bool = False
    visits: VisitSpec | None = None
    several_trials: SeveralTrials = "no"
    residual_by_trial: bool = True
    clinic: TherapistEffects = "none"

    def __post_init__(self) -> None:
        valid = get_args(TherapistEffects)
        for whose, effects in (("Therapist", self.therapist), ("Clinic", self.clinic)):
            if effects not in valid:
                raise InputError(
                    f"{whose} effects {effects!r} are not known.",
                    f"Choose one of: {', '.join(valid)}.",
                )
        if self.therapist_by_arm and self.therapist == "none":
            raise InputError(
                "Arm effects that vary between therapists need therapist effects.",
                'Set therapist = "intercept" or "intercept+slope", or therapist_by_arm = false.',
            )

        if self.residual_by_arm and self.family not in WITH_RESIDUAL_SD:
            raise InputError(
                f"{self.outcome}: the family {self.family!r} has no residual SD that could differ "
                "between arms.",
                'Set residual_by_arm = false, or likelihood = "published", under [model].',
            )

    @property
    def effects(self) -> tuple[str, ...]:
        """Correlated effects that vary between therapists, in the order of their covariance."""
        return EFFECTS[self.therapist]

    @property
    def clinic_effects(self) -> tuple[str, ...]:
        """Correlated effects that vary between clinics, in the order of their covariance."""
        return EFFECTS[self.clinic]

    def nesting(self, arms: Sequence[str]) -> Nesting:
        """Which of these arms have therapists, and which share a residual SD.

        A family without a residual SD has no residual groups.
        """
        found = Nesting.of(arms, self.without_therapist, residual_by_arm=self.residual_by_arm)
        return found if self.family in WITH_RESIDUAL_SD else Nesting(found.without)

    @property
    def linear(self) -> ModelSpec:
        """The linear model of the same terms: Gaussian, with the alliance as rated."""
        moderator = ModeratorSpec(arms=self.moderator.arms)
        return ModelSpec(
            self.outcome,
            self.therapist,
            self.interaction,
            self.priors,
            moderator=moderator,
            without_therapist=self.without_therapist,
            residual_by_arm=self.residual_by_arm,
            clinic=self.clinic,
        )

    @property
    def exact(self) -> bool:
        """Whether the therapist effects integrate out in closed form: `models.gaussian`.

        So they do for Gaussian outcomes as long as every patient's alliance is observed. With a
        latent alliance they do so given the alliance alone: `models.latent_ratings`.
        """
        return self.family == "gaussian" and not self.moderator.latent

    def to_dict(self) -> dict[str, Any]:
        """The specification as plain values, for a run's manifest."""
        found: dict[str, Any] = _plain(asdict(self))
        return found

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelSpec:
        """The specification that `to_dict` wrote."""
        parts = {
            "priors": _priors_from(values["priors"]),
            "moderator": _moderator(values["moderator"]),
            "without_therapist": tuple(values.get("without_therapist", ())),
            "visits": _visits(values.get("visits")),
        }
        return cls(**{**values, **parts})


def _plain(value: Any) -> Any:
    """Tuples as lists, as JSON has them."""
    if isinstance(value, dict):
        return {key: _plain(own) for key, own in value.items()}
    return [_plain(own) for own in value] if isinstance(value, list | tuple) else value


def _visits(values: Mapping[str, Any] | None) -> VisitSpec | None:
    if values is None:
        return None
    return VisitSpec(**{**values, "by_visit": tuple(values["by_visit"])})


def _moderator(values: Mapping[str, Any]) -> ModeratorSpec:
    arms = values.get("arms")  # JSON knows no tuples, and an older run no arms
    return ModeratorSpec(**{**values, "arms": None if arms is None else tuple(arms)})


def specify(study: Study) -> dict[str, ModelSpec]:
    """Specification of every outcome, from the study's settings and priors.

    Parameters
    ----------
    study : Study
        See `data_prep.study.description.narrowed` for other outcomes or settings than the file's.

    Returns
    -------
    dict of str to ModelSpec
        By outcome.

    Raises
    ------
    InputError
        If a prior named in the study is not known, or a setting lacks what it needs.
    """
    priors, model = Priors.with_overrides(study.priors), study.model
    if model.reliability and study.measure.reliability is None:
        raise InputError(
            "The model asks for the alliance's reliability, and [moderator] states none.",
            "Add the entry reliability, from 0 to 1, to [moderator], or set reliability = false.",
        )
    moderator = ModeratorSpec(
        structure=model.alliance,
        missing=model.missing_alliance,
        reliability=study.measure.reliability if model.reliability else None,
        ceiling=study.measure.range[1] if model.ceiling else None,
        between_interaction=model.between_interaction,
        arms=None if study.rated_arms == tuple(study.arms) else study.rated_arms,
    )
    specs = {
        name: ModelSpec(
            outcome=name,
            therapist="none" if study.columns.therapist is None else model.therapist,
            interaction=model.interaction,
            priors=_informed(priors, study, name),
            family=_family(outcome.family, model.likelihood, model.joint),
            moderator=moderator,
            therapist_by_arm=model.therapist_by_arm,
            without_therapist=study.arms_without_therapist,
            residual_by_arm=model.residual_by_arm,
            visits=_at_visit(outcome, model),
            several_trials=model.several_trials,
            residual_by_trial=model.residual_by_trial,
            clinic=study.clinic_setting,
        )
        for name, outcome in study.outcomes.items()
    }
    if model.joint:
        _require_joinable(specs)
    _require_variance(specs)
    _require_residuals(specs)
    _require_visits_without_clinics(study, specs)
    _require_normal(specs, joint=model.joint)
    return specs


def _require_visits_without_clinics(study: Study, specs: Mapping[str, ModelSpec]) -> None:
    """Refuse clinics above therapists for outcomes over time.

    Raises
    ------
    InputError
    """
    over_visits = any(spec.visits is not None for spec in specs.values())
    if over_visits and study.clinic_setting != "none":
        raise InputError(
            "Outcomes over time do not go with clinic effects: therapists are their highest level.",
            'Set clinic = "none" under [model], or describe one visit as an outcome by itself.',
        )


def _require_residuals(specs: Mapping[str, ModelSpec]) -> None:
    """Refuse residual SDs by arm where the alliance has a model of its own.

    Raises
    ------
    InputError
    """
    remedy = "Set residual_by_arm = false under [model]."
    for outcome, spec in specs.items():
        if not spec.residual_by_arm:
            continue
        if spec.moderator.latent or spec.moderator.structure != "total":
            raise InputError(
                f"{outcome}: residual SDs by arm do not go with a model of the alliance itself "
                '(alliance = "within_between", missing_alliance = "impute", reliability, ceiling).',
                remedy,
            )


def _at_visit(outcome: Outcome, model: ModelSettings) -> VisitSpec | None:
    """What the settings say of an outcome at a visit; None of an outcome without visits."""
    if outcome.visit_of is None or outcome.visit is None:
        return None
    differ = {
        "baseline": model.baseline_by_visit,
        "moderator": model.moderator_by_visit,
        "interaction": model.interaction_by_visit,
        "covariate": model.covariates_by_visit,
    }
    return VisitSpec(
        outcome=outcome.visit_of,
        visit=outcome.visit,
        time=outcome.visit_time,
        correlation=model.visit_correlation,
        sd_by_visit=model.visit_sd == "by_visit",
        by_visit=("intercept", "arm", *(kind for kind, own in differ.items() if own)),
        therapist_by_visit=model.therapist_by_visit,
    )


def over_time(specs: Mapping[str, ModelSpec]) -> dict[str, list[str]]:
    """Names of outcomes at visits, by the outcome over time, in the order of time.

    Parameters
    ----------
    specs : mapping of str to ModelSpec
    """
    found: dict[str, list[str]] = {}
    for name, spec in specs.items():
        if spec.visits is not None:
            found.setdefault(spec.visits.outcome, []).append(name)
    return found


def refuse_over_time(names: Iterable[str], what: str) -> None:
    """Refuse what outcomes at visits do not have, if there is one.

    Parameters
    ----------
    names : iterable of str
        Of outcomes at visits.
    what : str
        That is not available, at the beginning of a sentence.

    Raises
    ------
    InputError
    """
    if listed := list(names):
        raise InputError(
            f"{what} is not available for outcomes over time, and {listed[0]} is a visit of one.",
            "Describe one visit as an outcome by itself, with `followup` in the place of "
            "`visits`, and ask for that.",
        )


def visits_in(study: Study) -> list[str]:
    """Names of the study's outcomes at visits."""
    return [name for name, outcome in study.outcomes.items() if outcome.visit_of is not None]


SLOPE = "moderator_slope"  # the prior that the pack has entries of
STANDARDISED = "correlation"  # scale of an entry that is a standardised slope where it stands alone


def _informed(priors: Priors, study: Study, outcome: str) -> Priors:
    """The priors of one outcome, with what the study takes from the prior pack.

    Raises
    ------
    InputError
    """
    for name, taken in study.prior_evidence.items():
        found = evidence(taken.entry)
        if name != SLOPE or found.quantity != SLOPE or found.scale != STANDARDISED:
            raise InputError(
                f"[priors] {name} cannot be taken from {taken.entry!r}, which is of "
                f"{found.quantity} in {found.scale}.",
                f"Only {SLOPE} can, from an entry that is a correlation: fluckiger2018, "
                "fluckiger2018_internet. State another prior as a number.",
            )
        assert found.value is not None
        between = taken.heterogeneity or found.heterogeneity or found.assumed_heterogeneity or 0.0
        direction = {"higher": 1, "lower": -1}[study.outcomes[outcome].better]
        known = SlopeEvidence(
            taken.entry,
            direction * found.value,
            float((found.error**2 + between**2) ** 0.5),
            taken.weight,
        )
        return InformedPriors(**asdict(priors), known=known)
    return priors


def _priors_from(values: Mapping[str, Any]) -> Priors:
    own = dict(values)
    known = own.pop("known", None)
    return Priors(**own) if known is None else InformedPriors(**own, known=SlopeEvidence(**known))


def _require_normal(specs: Mapping[str, ModelSpec], *, joint: bool) -> None:
    """Refuse a prior from the pack where the model has no place for it.

    Raises
    ------
    InputError
    """
    for outcome, spec in specs.items():
        if spec.priors.slope is None:
            continue
        apart = joint or spec.visits is not None or spec.several_trials != "no"
        if apart or not spec.exact or spec.moderator.structure != "total":
            raise InputError(
                f"{outcome}: a prior from the prior pack goes with a Gaussian outcome by itself, "
                "of one trial, and with the alliance as rated.",
                f"State [priors] {SLOPE} as a number, or leave the other settings out.",
            )


def _require_variance(specs: Mapping[str, ModelSpec]) -> None:
    """Refuse degrees of freedom that are fixed so low that scores have no variance.

    Raises
    ------
    InputError
    """
    for outcome, spec in specs.items():
        if spec.family == "student_t" and 0 < spec.priors.degrees_of_freedom <= 2:
            raise InputError(
                f"{outcome}: a Student-t distribution with degrees_of_freedom = "
                f"{spec.priors.degrees_of_freedom:g} has no variance, so that there is no residual "
                "SD and no therapists' share.",
                "Fix them above 2 under [priors], or leave the entry out: they are then estimated.",
            )


def _family(own: str, likelihood: str, joint: bool) -> str:
    """An outcome's family under the study's settings.

    A joint model takes an ordinal outcome as a latent normal variable, and any other as Gaussian:
    correlated residuals are those of normal variables. Events and counts are never taken as
    Gaussian (docs/decisions/0037); a joint model does not take them (`data_prep.study.rules`).
    """
    if own in OWN_FAMILIES:
        return own
    if likelihood == "published":
        return "gaussian"
    if joint:
        return ORDINAL_PROBIT.name if own == ORDINAL.name else "gaussian"
    return own


def _require_joinable(specs: Mapping[str, ModelSpec]) -> None:
    """Refuse what the joint model of all outcomes cannot hold.

    Raises
    ------
    InputError
        If there is one outcome only, or two are ordinal, or an option does not go with it.
    """
    spec = next(iter(specs.values()))
    ordinal = [name for name, each in specs.items() if each.family == ORDINAL_PROBIT.name]
    if len(specs) < 2:
        raise InputError(
            f"A joint model needs two outcomes, and {spec.outcome!r} is the only one.",
            "Add a second outcome, or leave `joint` out.",
        )
    if JOINT in specs:
        raise InputError(
            f"In a joint model {JOINT!r} names what the outcomes share, and is an outcome here.",
            "Give the outcome another name in the study file.",
        )
    if len(ordinal) > 1:
        raise InputError(
            f"The joint model takes one ordinal outcome, and {' and '.join(ordinal)} are ordinal.",
            'Set likelihood = "published", which takes every outcome as Gaussian, or leave `joint` '
            "out.",
        )
    unjoined = {
        'alliance = "within_between"': spec.moderator.structure != "total",
        'missing_alliance = "impute"': spec.moderator.missing != "complete_case",
        "reliability = true": spec.moderator.reliability is not None,
        "ceiling = true": spec.moderator.ceiling is not None,
        "therapist_by_arm = true": spec.therapist_by_arm,
        "residual_by_arm = true": spec.residual_by_arm,
        "arms without therapists": bool(spec.without_therapist),
    }
    if asked := [name for name, wanted in unjoined.items() if wanted]:
        raise InputError(
            f"The joint model does not go with {asked[0]}.",
            "Leave that out, or `joint`: each outcome is then fitted by itself.",
        )
