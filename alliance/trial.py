"""Before a fit: a study's description and its data, read or simulated."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from alliance.answer import Answer, entitled, listed
from alliance.data_prep.errors import InputError, nearest
from alliance.data_prep.files import AnyPath, as_path
from alliance.data_prep.study import description
from alliance.data_prep.study.description import Study as Description
from alliance.data_prep.study.parts import ModelSettings
from alliance.data_prep.trial.trial import Trial as Checked
from alliance.data_prep.trial.trial import check_estimable, load_trial
from alliance.inference.sampling.profiles import DEFAULT_SEED

if TYPE_CHECKING:
    from alliance.data_prep.registry.registry import Registry
    from alliance.data_prep.simulator.simulation import Simulated

Data = AnyPath | pd.DataFrame
ManyData = Data | Sequence[AnyPath]
Names = str | Sequence[str]


@dataclass(frozen=True, eq=False, repr=False)
class Study:
    """What a trial's columns mean, and how it is to be analysed.

    Attributes
    ----------
    description : alliance.data_prep.study.description.Study
        What the study file says, with the outcomes and settings that were chosen.
    path : Path or None
        The study file; None where there is none.
    whole : alliance.data_prep.study.description.Study
        The description with all of its outcomes.

    Examples
    --------
    >>> import alliance as al
    >>> al.study("headache").outcomes
    ('headache_3m', 'headache_12m')
    """

    description: Description
    path: Path | None
    whole: Description

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Names of the outcomes."""
        return tuple(self.description.outcomes)

    @property
    def published(self) -> Path | None:
        """The file of published findings beside the study file, if there is one."""
        beside = None if self.path is None else self.path.with_name("published.toml")
        return beside if beside is not None and beside.is_file() else None

    def choose(
        self,
        outcome: Names | None = None,
        *,
        model: Mapping[str, Any] | None = None,
        delta: Mapping[str, Mapping[str, float]] | None = None,
    ) -> Study:
        """The study with some of its outcomes, or with another model.

        Parameters
        ----------
        outcome : str or sequence of str, optional
            Outcomes to keep; all by default.
        model : mapping of str to setting, optional
            Settings by the names that they have under ``[model]`` in a study file, such as
            ``{"therapist": "intercept", "interaction": False}``.
        delta : mapping of str to mapping of str to float, optional
            How far unseen outcomes lie from what is expected, by outcome and arm.

        Returns
        -------
        Study

        Raises
        ------
        InputError
            If there is no such outcome, arm or setting, or settings do not go together.
        """
        settings = dict(model or {})
        for name in settings:
            if name not in ModelSettings.model_fields:
                raise InputError(
                    f"The model has no setting {name!r}.", nearest(name, ModelSettings.model_fields)
                )
        chosen = description.narrowed(
            self.description, outcomes=listed(outcome), delta=delta, **settings
        )
        return replace(self, description=chosen)

    def read(
        self,
        data: ManyData,
        *,
        sample_therapists: int | None = None,
        seed: int = DEFAULT_SEED,
        dask: str | None = None,
    ) -> Trial:
        """Read and check the trial's data.

        Parameters
        ----------
        data : str, path-like, pandas.DataFrame, or sequence of str or path-like
            A table (.csv .tsv .txt .xlsx .parquet .dta .sav) or a data frame. A folder or a pattern
            such as ``"registry/*.parquet"`` stands for many files, of which cross-products are
            kept; so do several tables, and shares (.share) that `alliance.share` made.
        sample_therapists : int, optional
            Of many files all rows of so many therapists, drawn at random, as an ordinary trial.
        seed : int
            Of this sample.
        dask : str, optional
            Address of a Dask scheduler that reads many files.

        Returns
        -------
        Trial

        Raises
        ------
        DataError
            With every problem of the data: row, column, value and what to do.
        InputError
            If the file cannot be read.
        """
        asked: dict[str, Any] = {"sample_therapists": sample_therapists, "seed": seed, "dask": dask}
        return Trial(self, data, read_data(self.description, data, **asked), asked)

    def __repr__(self) -> str:
        told = self.description
        lines = [
            entitled(told, told.title),
            f"outcomes: {', '.join(self.outcomes)}",
            f"arms: {', '.join(f'{code} ({label})' for code, label in told.arms.items())}",
            *([] if told.moderator is None else [f"{told.moderator.name}: {told.moderator.label}"]),
            f"therapist effects: {told.model.therapist}; likelihood: {told.model.likelihood}",
        ]
        return "\n".join(lines)


@dataclass(frozen=True, eq=False, repr=False)
class Trial:
    """A trial's data, checked against its study; `al.fit` takes it.

    Attributes
    ----------
    study : Study
    data : str, path-like or pandas.DataFrame
        What was read.
    checked : alliance.data_prep.trial.trial.Trial or alliance.data_prep.registry.registry.Registry
        The data as the models see them.
    reading : dict
        How it was read: `sample_therapists`, `seed`, `dask`.
    simulated : alliance.data_prep.simulator.simulation.Simulated or None
        Of a simulated trial: its table, its true values and where they come from.
    """

    study: Study
    data: ManyData
    checked: Checked | Registry
    reading: dict[str, Any]
    simulated: Simulated | None = None

    @property
    def flow(self) -> pd.DataFrame:
        """Who enters the analysis of each outcome, and for want of what others do not."""
        return self.checked.flow

    @property
    def notes(self) -> tuple[str, ...]:
        """What one should know of the data though it is no error."""
        return self.checked.notes

    def choose(
        self,
        outcome: Names | None = None,
        *,
        model: Mapping[str, Any] | None = None,
        delta: Mapping[str, Mapping[str, float]] | None = None,
    ) -> Trial:
        """The same data, read again for some of the outcomes or another model.

        Parameters
        ----------
        outcome, model, delta
            As of `Study.choose`.
        """
        if not (listed(outcome) or model or delta):
            return self
        study = self.study.choose(outcome, model=model, delta=delta)
        return replace(study.read(self.data, **self.reading), simulated=self.simulated)

    def prior(
        self, outcome: Names | None = None, *, draws: int = 2000, seed: int = DEFAULT_SEED
    ) -> Answer:
        """Ask, before any fit, whether the priors are plausible on each outcome's own scale.

        Parameters
        ----------
        outcome : str or sequence of str, optional
        draws : int
            Trials simulated from the priors.
        seed : int

        Returns
        -------
        Answer
            ``verdict`` says of each outcome whether they are plausible, too wide or too tight.
        """
        from alliance.diagnostics.checks.prior_check import prior_check
        from alliance.diagnostics.figures.predictive_figures import prior_figure
        from alliance.diagnostics.sheets import checks as sheets

        rows = estimable_rows(self.choose(outcome), "The check of the priors")
        checks = [prior_check(rows, name, draws=draws, seed=seed) for name in rows.study.outcomes]
        return Answer(
            entitled(rows.study, "What the priors expect"),
            pd.concat([check.table for check in checks], ignore_index=True),
            found=checks,
            _read=lambda: ([sheets.prior(each) for each in checks], sheets.prior_legend(checks)),
            verdict="; ".join(f"{check.outcome} {check.verdict}" for check in checks),
            _drawn=partial(prior_figure, checks),
        )

    def save(self, path: AnyPath, *, overwrite: bool = False) -> tuple[Path, ...]:
        """Write a simulated trial as CSV, its study file and true values beside it.

        Parameters
        ----------
        path : str or path-like
            The table, ending in .csv.
        overwrite : bool
            Replace what was simulated there before.

        Returns
        -------
        tuple of Path
            The files written.

        Raises
        ------
        InputError
            If the trial is not a simulated one, or the place is taken.
        """
        from alliance.data_prep.simulator.simulation import write_simulated

        if self.simulated is None:
            raise InputError("Only simulated trials are written.", "Its data are a file already.")
        return write_simulated(self.simulated, path, overwrite=overwrite)

    def _told(self) -> Answer:
        from alliance.diagnostics.sheets.results import flow

        checked = self.checked
        return Answer(
            entitled(checked.study, f"Trial read from {checked.source}"),
            checked.flow,
            notes=checked.notes,
            _read=lambda: ([flow(checked.study, checked.flow)], []),
        )

    def __repr__(self) -> str:
        return repr(self._told())

    def _repr_html_(self) -> str:
        return self._told()._repr_html_()


def studies() -> tuple[str, ...]:
    """Names of the studies that come along.

    Examples
    --------
    >>> import alliance as al
    >>> al.studies()
    ('ferreira2013', 'ferreira2013_over_time', 'headache', 'headache_over_time')
    """
    return tuple(description.bundled_studies())


def study(name: AnyPath) -> Study:
    """Read a study's description.

    Parameters
    ----------
    name : str or path-like
        The name of a study that comes along, a ``study.toml``, or a folder that holds one.

    Returns
    -------
    Study

    Raises
    ------
    InputError
        If there is no such study, or its file has faults; all are told.

    Examples
    --------
    >>> import alliance as al
    >>> al.study("ferreira2013").outcomes
    ('function', 'gpe', 'pain', 'disability')
    """
    path = description.find_study(name)
    whole = description.read_study(path)
    return Study(whole, path, whole)


def simulate(
    *,
    patients: int = 240,
    therapists: int = 12,
    seed: int = DEFAULT_SEED,
    nested: bool = False,
    without_therapist: str | Sequence[str] = (),
) -> Trial:
    """Simulate a trial like the published one of 2013, with true values that one knows.

    Parameters
    ----------
    patients, therapists : int
    seed : int
    nested : bool
        Each therapist treats in one arm only.
    without_therapist : str or sequence of str
        Codes of arms whose patients have no therapist.

    Returns
    -------
    Trial
        ``simulated.truth`` has the true values; `Trial.save` writes all of it.

    Examples
    --------
    >>> import alliance as al
    >>> al.simulate(patients=60, therapists=4).flow["rows_read"].tolist()
    [60, 60, 60, 60]
    """
    from alliance.data_prep.simulator.simulation import simulate_trial

    made = simulate_trial(
        seed=seed,
        patients=patients,
        therapists=therapists,
        crossed=not nested,
        without_therapist=listed(without_therapist),
    )
    # The findings that a simulated trial is held against are those of the study it imitates.
    path = description.bundled_studies()["ferreira2013"]
    return replace(Study(made.study, path, made.study).read(made.frame), simulated=made)


def estimable_rows(trial: Trial, what: str) -> Checked:
    """A trial's patients, who can tell of therapists what the model asks of them.

    Parameters
    ----------
    trial : Trial
    what : str
        What needs them, for the message.

    Raises
    ------
    InputError
        If it was read as cross-products.
    DataError
        If it has too few therapists.
    """
    if not isinstance(trial.checked, Checked):
        raise InputError(
            f"{what} needs patients' rows, and many files were read as cross-products.",
            "Read some therapists with their rows: sample_therapists=200.",
        )
    check_estimable(trial.checked, trial.checked.study.model.therapist)
    return trial.checked


def opened(study: Study | AnyPath) -> Study:
    """A study that is given itself, by its name or by its file."""
    return study if isinstance(study, Study) else _study(study)


_study = study  # parameters of the name hide the function


def read_data(
    described: Description,
    data: ManyData,
    *,
    sample_therapists: int | None = None,
    seed: int = DEFAULT_SEED,
    dask: str | None = None,
) -> Checked | Registry:
    """A trial's data, however they come: one table, many files, or some therapists of many.

    Parameters
    ----------
    described : alliance.data_prep.study.description.Study
    data, sample_therapists, seed, dask
        As of `Study.read`.
    """
    if not isinstance(data, pd.DataFrame | str | os.PathLike):
        paths = [as_path(each) for each in data]
        if len(paths) != 1:
            return _pooled(described, paths, sample_therapists, dask)
        data = paths[0]
    several = described.model.several_trials != "no"
    if several and isinstance(data, pd.DataFrame):
        raise InputError(
            "Several trials in one model are read from files, and a data frame is given.",
            "Write it to a file, with a column that tells the trials: `trial` under [columns].",
        )
    if not isinstance(data, pd.DataFrame) and (several or as_path(data).suffix.lower() == ".share"):
        return _pooled(described, [as_path(data)], sample_therapists, dask)
    if isinstance(data, pd.DataFrame) or not _many_files(as_path(data)):
        if sample_therapists is not None or dask is not None:
            name = "dask" if sample_therapists is None else "sample_therapists"
            what = "a data frame" if isinstance(data, pd.DataFrame) else repr(str(as_path(data)))
            raise InputError(
                f"`{name}` is for tables in many files, and {what} is one.",
                "Leave it out, or name a folder or a pattern such as 'registry/*.parquet'.",
            )
        return load_trial(described, data)
    from alliance.data_prep.registry import registry

    with nullcontext(None) if dask is None else _cluster(dask) as compute:
        if sample_therapists is not None:
            return registry.sample_therapists(described, data, sample_therapists, seed, compute)
        return registry.load_registry(described, data, compute)


def _pooled(
    described: Description, paths: Sequence[Path], sample: int | None, dask: str | None
) -> Registry:
    """Shares, and files beside them, as one registry."""
    from alliance.data_prep.shares.pooling import load_pooled

    if not paths:
        raise InputError("No data are given.", "Name a table, a pattern of tables, or shares.")
    if sample is not None or dask is not None:
        name = "dask" if sample is None else "sample_therapists"
        raise InputError(
            f"`{name}` is for one pattern of tables, and several or shares are given.",
            "Leave it out, or name a folder or a pattern such as 'registry/*.parquet'.",
        )
    return load_pooled(described, paths)


def _many_files(data: Path) -> bool:
    if data.is_file():
        return False
    from alliance.data_prep.registry.registry import is_registry  # loads Dask

    return is_registry(data)


@contextmanager
def _cluster(address: str) -> Iterator[Callable[[Any], Any]]:
    from alliance.inference.many_fits.cluster import compute, open_cluster

    with open_cluster(address) as client:
        yield partial(compute, client)
