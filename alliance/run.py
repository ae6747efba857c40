"""A fitted study: what is asked of all of its outcomes, and how it is fitted and read back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import xarray as xr

from alliance.answer import Answer, Told, entitled, listed, one_of, telling, titled
from alliance.data_prep.errors import InputError
from alliance.data_prep.files import AnyPath, as_path
from alliance.data_prep.trial.trial import Trial as Checked
from alliance.inference.runs.fit import Fit
from alliance.inference.sampling.profiles import DEFAULT_SEED
from alliance.outcome import FittedOutcome
from alliance.trial import Data, Names, Trial, opened

if TYPE_CHECKING:
    from alliance.diagnostics.gate.fit_gate import FitChecks
    from alliance.inference.published.findings import Finding
    from alliance.inference.sampling.profiles import Engine, TherapistEffectsKept


@dataclass(frozen=True, eq=False, repr=False)
class Run(Mapping[str, FittedOutcome]):
    """A fitted study: its outcomes by name, and what is asked of all of them.

    ``run["pain"]`` is one fitted outcome, for the questions about patients, arms and therapists.

    Attributes
    ----------
    fit : alliance.inference.runs.fit.Fit
        Draws, designs and manifest.
    published : Path or None
        The file of published findings that goes with the run.
    path : Path or None
        The run folder, if there is one.
    """

    fit: Fit
    published: Path | None = None
    path: Path | None = None

    def __getitem__(self, outcome: str) -> FittedOutcome:
        return FittedOutcome(self, self.fit[outcome])

    def __iter__(self) -> Iterator[str]:
        return iter(self.fit.outcomes)

    def __len__(self) -> int:
        return len(self.fit.outcomes)

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Names of the fitted outcomes."""
        return self.fit.outcomes

    @property
    def notes(self) -> tuple[str, ...]:
        """What no longer matches in a run that was loaded: study, data, files, versions."""
        return self.fit.differences

    @cached_property
    def checks(self) -> FitChecks:
        """The checks of draws and model, each made when it is first asked for, and once."""
        from alliance.diagnostics.gate.fit_gate import FitChecks

        return FitChecks(self.fit)

    def check(self, *, junit: AnyPath | None = None) -> Answer:
        """Judge the draws and the model.

        Parameters
        ----------
        junit : str or path-like, optional
            Also write the checks there as JUnit XML, for continuous integration.

        Returns
        -------
        Answer
            One row for each check, with what to do. Draws whose ``verdict`` is FAIL are not to be
            used. The figure is of replicated data.
        """
        from alliance.diagnostics.figures.predictive_figures import FIGURES
        from alliance.diagnostics.gate.fit_gate import gate_table, worst_verdict
        from alliance.diagnostics.gate.junit import write_junit
        from alliance.diagnostics.sheets import checks as sheets

        reports, told = self.checks.reports, self.fit.study
        if junit is not None:
            write_junit(reports, junit, title=told.title, simulated=told.simulated)
        return Answer(
            entitled(told, "Checks of draws and model"),
            gate_table(reports),
            found=reports,
            verdict=str(worst_verdict(reports)),
            notes=tuple(line for each in reports for line in sheets.advice(each.all_results)),
            _read=lambda: ([sheets.overview(sheets.overview_table(self.fit, reports))], []),
            _drawn=lambda plot="distribution": one_of(FIGURES, plot)(
                self.fit, [judged.predictive for judged in self.checks.model.values()]
            ),
        )

    def summary(
        self,
        *,
        interval: float = 0.95,
        per_sd: bool = False,
        at: float | None = None,
        extrapolate: bool = False,
    ) -> Answer:
        """Posterior summaries of every reported quantity, on each outcome's own scale.

        Parameters
        ----------
        interval : float
            Probability of the equal-tailed intervals.
        per_sd : bool
            Moderator slopes for one SD of the moderator instead of one point.
        at : float, optional
            The alliance at which arms are compared; by default the mean of the analysed patients.
        extrapolate : bool
            Allow an alliance that was not observed.

        Returns
        -------
        Answer
            The figure shows the arm contrasts.
        """
        from alliance.diagnostics.figures.results_figures import contrast_figure
        from alliance.diagnostics.sheets import results
        from alliance.inference.estimands.over_time import by_outcome_and_visit
        from alliance.inference.trials.tables import whole_table

        fit = self.fit
        places: dict[str, Any] = {"at": at, "extrapolate": extrapolate}
        table = fit.summary(interval=interval, per_sd=per_sd, **places)
        return Answer(
            titled(fit.study, "Posterior summaries", interval),
            whole_table(
                list(fit.posteriors()),
                by_outcome_and_visit(table, fit.study),
                interval=interval,
                per_sd=per_sd,
            ),
            _kept=lambda: xr.DataTree.from_dict(
                {
                    name: fit.estimands(name, per_sd=per_sd, **places).to_dataset(name="value")
                    for name in fit.outcomes
                }
            ),
            notes=self.notes,
            _read=lambda: (
                results.summary(
                    fit,
                    table,
                    fit.priors(per_sd=per_sd, **places),
                    interval=interval,
                    per_sd=per_sd,
                ),
                results.summary_legend(fit, per_sd=per_sd, at=at),
            ),
            _drawn=partial(contrast_figure, fit, table, interval=interval, at=at),
        )

    def trials(
        self,
        outcome: Names | None = None,
        *,
        quantity: Names | None = None,
        leave_one_out: bool = False,
        per_sd: bool = False,
        interval: float = 0.95,
        cores: int | None = None,
    ) -> Answer:
        """Several trials of one model: each of them, the average, a new one, what they differ by.

        Parameters
        ----------
        outcome : str or sequence of str, optional
        quantity : str or sequence of str, optional
            Of ``arm_contrast``, ``moderator_slope``, ``interaction``; all by default.
        leave_one_out : bool
            Also fit again without each trial in turn.
        per_sd : bool
        interval : float
        cores : int, optional

        Returns
        -------
        Answer
            The figure is a forest plot of the first outcome.

        Raises
        ------
        InputError
            If the run is of one trial.
        """
        from alliance.diagnostics.figures.trials_figure import trials_figure
        from alliance.diagnostics.sheets import trials as sheets
        from alliance.inference.trials.asked import several_trials

        fit = self.fit
        found = several_trials(
            fit,
            listed(outcome),
            quantities=listed(quantity),
            interval=interval,
            per_sd=per_sd,
            leave_one_out=leave_one_out,
            cores=cores,
        )
        return Answer(
            titled(fit.study, "Several trials", interval),
            found.table,
            found=found,
            notes=self.notes,
            _read=lambda: (sheets.sheets(fit, found, interval=interval), sheets.legend(fit)),
            _drawn=lambda: trials_figure(fit, next(iter(found.each.values())), interval=interval),
        )

    def priors(
        self, *, per_sd: bool = False, at: float | None = None, extrapolate: bool = False
    ) -> Answer:
        """The priors of the reported quantities, on each outcome's own scale.

        Parameters
        ----------
        per_sd, at, extrapolate
            As of `summary`.
        """
        from alliance.diagnostics.sheets.results import priors

        table = self.fit.priors(per_sd=per_sd, at=at, extrapolate=extrapolate)
        title = entitled(self.fit.study, "Priors")
        return Answer(title, table, _read=lambda: ([priors(self.fit, table)], []))

    def compare(
        self,
        published: AnyPath | None = None,
        *,
        interval: float = 0.95,
        robust: bool = False,
        at: float | None = None,
        extrapolate: bool = False,
        df: Literal["satterthwaite", "kenward-roger"] = "satterthwaite",
        visit: str = "all",
    ) -> Answer:
        """Set published findings, OLS, REML and the posterior side by side.

        Parameters
        ----------
        published : str or path-like, optional
            A published.toml, instead of the one that goes with the run.
        interval : float
        robust : bool
            Also OLS with standard errors that are robust to clusters by therapist (CR2).
        at, extrapolate
            As of `summary`.
        df : {"satterthwaite", "kenward-roger"}
            REML of outcomes over time: standard errors of generalised least squares, or those of
            Kenward and Roger.
        visit : str
            Of outcomes over time: this visit, the ``last`` one, or ``all``.

        Returns
        -------
        Answer
            The figure is a forest plot.
        """
        from alliance.diagnostics.figures.results_figures import comparison_figure
        from alliance.diagnostics.sheets import results
        from alliance.inference.published.comparison import compare

        table = compare(
            self.fit,
            self.findings(published),
            interval=interval,
            robust=robust,
            at=at,
            extrapolate=extrapolate,
            df=df,
            outcomes=None if visit == "all" else self.fit.chosen([], visit),
        )
        return Answer(
            titled(self.fit.study, "Published, refitted and posterior", interval),
            table,
            notes=self.notes,
            _read=lambda: (
                results.comparison(self.fit, table, interval=interval),
                results.comparison_legend(self.fit, table, at=at),
            ),
            _drawn=partial(comparison_figure, self.fit, table, interval=interval, at=at),
        )

    def missing(
        self,
        outcome: str | None = None,
        *,
        assume: Literal["mar", "j2r", "cir", "cr"] = "mar",
        reference: str | None = None,
        delta: Mapping[str, float] | None = None,
        tip: bool = False,
        probability: float = 0.975,
        interval: float = 0.95,
    ) -> Answer:
        """Means and contrasts under an assumption about scores that were not seen.

        Parameters
        ----------
        outcome : str, optional
            With one follow-up, or over time; needed where there are several.
        assume : {"mar", "j2r", "cir", "cr"}
            Missing at random; or those who left jump to the reference arm's course, copy its
            increments, or copy all of it.
        reference : str, optional
            Code or label of the arm that they follow; the first by default.
        delta : mapping of str to float, optional
            By arm, added to every score that was not seen.
        tip : bool
            Chances of a benefit over shifts of both arms' unseen scores, and the shift at which
            `probability` is lost.
        probability : float
        interval : float

        Returns
        -------
        Answer
            The figure shows the course of each arm's mean, unless `tip` is asked.
        """
        from alliance.diagnostics.figures.course_figure import course_figure
        from alliance.diagnostics.sheets import assumed as sheets
        from alliance.inference.answers.assumed_courses import course_table, courses, tipping_table

        fit = self.fit
        names = list(dict.fromkeys(own.visit_of or n for n, own in fit.study.outcomes.items()))
        chosen = [] if outcome is None else [outcome]
        if not chosen and len(names) > 1:
            raise InputError(
                "The run has several outcomes.", f"Name one of {', '.join(names)} as `outcome`."
            )
        found = courses(
            [fit[at] for at in fit.chosen(chosen)], assume, reference=reference, delta=delta
        )
        if tip:
            table = tipping_table(found, probability=probability)
            return Answer(
                titled(fit.study, "Shifts of unseen scores", interval),
                table,
                notes=self.notes,
                _read=lambda: (
                    [sheets.tipping(fit, found, table)],
                    sheets.tipping_legend(table, probability),
                ),
            )
        table = course_table(found, interval=interval)
        return Answer(
            titled(fit.study, "Unseen scores under an assumption", interval),
            table,
            notes=self.notes,
            _read=lambda: (
                [sheets.assumed(fit, found, table, interval=interval)],
                sheets.assumed_legend(found),
            ),
            _drawn=partial(course_figure, fit, found, table, interval=interval),
        )

    def findings(self, published: AnyPath | None = None) -> Sequence[Finding]:
        """Published findings: of a file, or of the one that goes with the run.

        Parameters
        ----------
        published : str or path-like, optional
        """
        from alliance.inference.published.published import read_published

        path = self.published if published is None else published
        if path is None:
            return ()
        left_out = self.fit.manifest.get("left_out", ())
        return read_published(path, self.fit.study, left_out=left_out)

    def report(
        self,
        path: AnyPath | None = None,
        *,
        tables: AnyPath | None = None,
        word: AnyPath | None = None,
        published: AnyPath | None = None,
        interval: float = 0.95,
        at: float | None = None,
        extrapolate: bool = False,
        hide_single: bool = False,
        visit: str = "all",
        overwrite: bool = False,
    ) -> Path:
        """Write the report: one HTML file to read, print and send.

        Parameters
        ----------
        path : str or path-like, optional
            The file; report.html in the run folder by default.
        tables : str or path-like, optional
            A folder, for each table as CSV, Markdown and LaTeX.
        word : str or path-like, optional
            The paper kit as a Word document: methods and results with citations, flow diagram,
            first table, table of results, formulas, checklist and supplement. It ends in .docx.
        published, interval, at, extrapolate
            As of `compare`.
        hide_single : bool
            Leave out therapists of one patient: what a table says of them it says of a person.
        visit : str
            Of outcomes over time: answers, curves, predictions and checks of this visit, of the
            ``last`` one, or of ``all``.
        overwrite : bool
            Replace tables, or a file that is no report; an earlier report always is.

        Returns
        -------
        Path
            Of the file.
        """
        from alliance.diagnostics.report.contents import require_word_file, write_report
        from alliance.diagnostics.report.material import Material
        from alliance.inference.draws.summaries import tails
        from alliance.inference.estimands.compared_at import require_place
        from alliance.inference.runs.whole_files import PAGE, require_output

        tails(interval)  # refuses what is no probability
        for outcome in self:
            require_place(self.fit[outcome], at, extrapolate=extrapolate)
        place = self._report_path() if path is None else as_path(path)
        read = [] if published is None else [as_path(published)]
        require_output(place, PAGE, overwrite=overwrite and path is not None, inputs=read)
        document = None if word is None else as_path(word)
        if document is not None:
            require_word_file(document, overwrite=overwrite, inputs=read)
        material = Material(
            self.fit,
            self.findings(published),
            interval,
            judged=self.checks,
            at=at,
            extrapolate=extrapolate,
            hide_single=hide_single,
            visit=visit,
        )
        folder = None if tables is None else as_path(tables)
        write_report(material, place, tables=folder, word=document, overwrite=overwrite)
        return place

    def explore(
        self,
        path: AnyPath | None = None,
        *,
        outcome: Names | None = None,
        interval: float = 0.95,
        therapist_names: bool = False,
        hide_single: bool = False,
        overwrite: bool = False,
    ) -> Path:
        """Write the explorer: one HTML page that answers by itself, from the run's draws.

        It needs no server and no network, and holds no patient's row.

        Parameters
        ----------
        path : str or path-like, optional
            The file; without one the page is written to a temporary file and opened in a browser.
        outcome : str or sequence of str, optional
            All by default.
        interval : float
            Probability of intervals and bands.
        therapist_names : bool
            Call therapists by their ids; by default they have numbers.
        hide_single : bool
            Leave out therapists of one patient.
        overwrite : bool
            Replace a file that is no explorer; an earlier explorer always is.

        Returns
        -------
        Path
            Of the file.
        """
        from alliance.diagnostics.explorer.page import write_explorer
        from alliance.inference.runs.whole_files import EXPLORER_PAGE, require_output

        place = None if path is None else as_path(path)
        if place is not None:
            require_output(place, EXPLORER_PAGE, overwrite=overwrite)
        written, _ = write_explorer(
            self.fit,
            place,
            outcomes=self.fit.chosen(listed(outcome)),
            interval=interval,
            therapist_names=therapist_names,
            hide_single=hide_single,
        )
        return written

    def save(self, path: AnyPath, *, overwrite: bool = False) -> Run:
        """Write the run folder, which `al.load` and the command line read.

        Parameters
        ----------
        path : str or path-like
        overwrite : bool
            Replace an earlier run.

        Returns
        -------
        Run
            The same run, which knows its folder.
        """
        from alliance.diagnostics.gate.fit_gate import FitChecks, gate_table
        from alliance.inference.runs.run_folder import save_fit

        # Without compilation, the checks of the model would take longer than the fit.
        quick = self.fit.engine == "instant"
        judged = FitChecks(self.fit, of_model=False) if quick else self.checks
        save_fit(
            self.fit,
            path,
            overwrite=overwrite,
            published=self.published,
            tables={"gate.csv": gate_table(judged.reports)},
        )
        return replace(self, path=as_path(path))

    def reproduce(
        self,
        data: Data | None = None,
        *,
        seed: int | None = None,
        cores: int | None = None,
        progress: bool | Told = True,
    ) -> Answer:
        """Refit the run from its study, settings and seed: are the draws identical?

        Parameters
        ----------
        data : str, path-like or pandas.DataFrame, optional
            The data to refit on; the patients that the run keeps by default.
        seed : int, optional
            Another seed than the run's.
        cores : int, optional
            Chains run at a time; never changes a draw.
        progress : bool or callable
            As of `alliance.fit`.

        Returns
        -------
        Answer
            ``verdict`` is identical or different; ``notes`` say what differs.
        """
        from alliance.data_prep.trial.trial import load_trial
        from alliance.diagnostics.sheets.many_fits import reproduction
        from alliance.inference.runs.reproduction import reproduce

        trial = None if data is None else load_trial(self.fit.study, data)
        with telling(progress, "refitting") as told:
            found = reproduce(self.fit, trial, seed=seed, cores=cores, progress=told)
        return Answer(
            entitled(self.fit.study, "Run and refit"),
            found.quantities,
            found=found,
            verdict="identical" if found.reproduced else "different",
            notes=found.reasons,
            _read=lambda: ([reproduction(self.fit, found)], []),
        )

    def _other(self, run: Run | AnyPath) -> Run:
        """Another run, given itself or by its folder."""
        return loaded(run)

    def _report_path(self) -> Path:
        if self.path is None:
            raise InputError("The run has no folder for its report.", "Name a file, or save it.")
        return self.path / "report.html"

    def __repr__(self) -> str:
        from alliance.diagnostics.gate.fit_gate import check_draws, worst_verdict

        manifest, profile = self.fit.manifest, self.fit.profile
        lines = [
            entitled(self.fit.study, self.fit.study.title),
            f"outcomes: {', '.join(self)}",
            f"{profile.chains} chains of {profile.draws:,} draws ({profile.name}), "
            f"engine {self.fit.engine}, seed {manifest['seed']}",
            f"draws: {worst_verdict(check_draws(self.fit))}",
        ]
        return "\n".join([*lines, *(f"Note: {note}" for note in self.notes)])


def fit(
    trial: Trial,
    *,
    outcome: Names | None = None,
    model: Mapping[str, Any] | None = None,
    delta: Mapping[str, Mapping[str, float]] | None = None,
    profile: str = "standard",
    draws: int | None = None,
    tune: int | None = None,
    target_accept: float | None = None,
    max_treedepth: int | None = None,
    seed: int = DEFAULT_SEED,
    engine: Engine = "nuts",
    cores: int | None = None,
    therapist_effects: TherapistEffectsKept = "auto",
    progress: bool | Told = True,
) -> Run:
    """Fit every outcome of a trial.

    Parameters
    ----------
    trial : Trial
        As `Study.read` or `alliance.simulate` gives it.
    outcome, model, delta
        As of `Study.choose`.
    profile : {"standard", "ci", "publication"}
        How much is sampled: 4 x 1,000, 2 x 1,000 or 4 x 5,000 draws.
    draws, tune : int, optional
        Kept and tuning draws of each chain, instead of the profile's.
    target_accept : float, optional
    max_treedepth : int, optional
    seed : int
        The same seed gives the same draws.
    engine : {"nuts", "instant"}
        nuts: PyMC's model, compiled. instant: importance sampling, without compiling, with the
        alliance as rated; NUTS takes over where that is unreliable.
    cores : int, optional
        Chains run at a time; never changes a draw.
    therapist_effects : {"auto", "draws", "summary"}
        Keep therapists' effects as draws, or their means and SDs; auto: a summary from 10,000
        therapists on.
    progress : bool or callable
        True tells of it on one line, in a notebook or on a terminal. A callable is called with the
        outcome, the draws done and the draws to do.

    Returns
    -------
    Run
        ``run.check()`` says whether the draws may be used.

    Raises
    ------
    InputError
        If a setting does not exist or does not fit the data.

    Examples
    --------
    >>> import alliance as al
    >>> trial = al.simulate(patients=60, therapists=4)
    >>> run = al.fit(trial, outcome="pain", profile="ci", engine="instant", seed=1)
    >>> run.outcomes
    ('pain',)
    """
    from alliance.inference.published.published import read_published
    from alliance.inference.runs.fitting import fit_registry, fit_trial
    from alliance.inference.sampling.profiles import find_profile

    sampler = replace(find_profile(profile), therapist_effects=therapist_effects).adjusted(
        draws=draws, tune=tune, target_accept=target_accept, max_treedepth=max_treedepth
    )
    chosen = trial.choose(outcome, model=model, delta=delta)
    whole, published = chosen.study.whole, chosen.study.published
    if published is not None:
        read_published(published, whole)  # its faults are better known before the sampling
    left_out = [name for name in whole.outcomes if name not in chosen.study.outcomes]
    settings: dict[str, Any] = {"engine": engine, "cores": cores, "left_out": left_out}
    with telling(progress, "sampling") as told:
        settings["progress"] = told
        if isinstance(chosen.checked, Checked):
            fitted = fit_trial(chosen.checked, sampler, seed, **settings)
        else:
            fitted = fit_registry(chosen.checked, sampler, seed, **settings)
    return Run(fitted, published)


def load(path: AnyPath, *, study: AnyPath | None = None, data: Data | None = None) -> Run:
    """Read a run folder that `Run.save` or the command `alliance fit` wrote.

    Parameters
    ----------
    path : str or path-like
    study : str or path-like, optional
        A study to hold against the one that was fitted.
    data : str, path-like or pandas.DataFrame, optional
        Data to hold against those that were fitted.

    Returns
    -------
    Run
        ``notes`` say what no longer matches.

    Raises
    ------
    InputError
        If there is no run, or one of its files is missing or damaged.

    Examples
    --------
    >>> import alliance as al
    >>> al.load("headache")["headache_12m"].effects(at=40).chance(better_by=5)  # doctest: +SKIP
    """
    from alliance.inference.runs.run_folder import PUBLISHED, load_fit

    folder = as_path(path)
    described = None if study is None else opened(study).description
    fitted = load_fit(folder, study=described, data=data)
    kept = folder / PUBLISHED
    return Run(fitted, kept if kept.is_file() else None, folder)


def side_by_side(
    runs: Mapping[str, Run | AnyPath],
    *,
    interval: float = 0.95,
    at: float | None = None,
    extrapolate: bool = False,
) -> Answer:
    """Put posterior summaries of several runs side by side: what a choice of the model changes.

    Parameters
    ----------
    runs : mapping of str to Run, str or path-like
        By the names that the columns bear; run folders may be given by their paths.
    interval, at, extrapolate
        As of `Run.summary`.

    Returns
    -------
    Answer
    """
    from alliance.diagnostics.sheets import results
    from alliance.inference.runs.choices import runs_beside

    fits = {name: loaded(run).fit for name, run in runs.items()}
    table = runs_beside(fits, interval=interval, at=at, extrapolate=extrapolate)
    return Answer(
        titled(next(iter(fits.values())).study, "Runs side by side", interval),
        table,
        _read=lambda: (
            results.beside(fits, table, interval=interval),
            results.beside_legend(fits, at=at),
        ),
    )


def loaded(run: Run | AnyPath) -> Run:
    """A run that is given itself, or by its folder."""
    return run if isinstance(run, Run) else load(run)
