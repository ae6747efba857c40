"""Does the bond between patient and therapist predict how a treatment turns out?

The public interface, for a notebook or a script; the command line ``alliance`` stands on it too.

Examples
--------
>>> import alliance
>>> study = alliance.read_study(alliance.find_study("headache"))  # doctest: +SKIP
>>> trial = alliance.load_trial(study, "headache.csv")  # doctest: +SKIP
>>> fit = alliance.fit_trial(trial, alliance.find_profile("standard"), seed=1)  # doctest: +SKIP
>>> fit.summary()  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from alliance._version import __version__

_HERE = Path(__file__).parent
if (_HERE / "models").is_file():  # a checkout without symbolic links: the rooms stand beside
    __path__.append(str(_HERE.parent))

# Names are fetched when they are first used: `alliance --help` must not wait for PyMC.
_HOMES = {
    "DataError": "alliance.data_prep.errors",
    "Finding": "alliance.inference.published.findings",
    "Fit": "alliance.inference.runs.fit",
    "GateReport": "alliance.diagnostics.gate.gate",
    "InputError": "alliance.data_prep.errors",
    "LeaveOneOut": "alliance.inference.leaving_out.leave_one_out",
    "ModelSpec": "alliance.models.spec",
    "PriorCheck": "alliance.diagnostics.checks.prior_check",
    "Priors": "alliance.models.priors",
    "Reproduction": "alliance.inference.runs.reproduction",
    "SamplerProfile": "alliance.inference.sampling.profiles",
    "Study": "alliance.data_prep.study.description",
    "TherapistChoice": "alliance.inference.scores.therapist_parts",
    "Posterior": "alliance.inference.posterior",
    "Thresholds": "alliance.inference.scores.thresholds",
    "Trial": "alliance.data_prep.trial.trial",
    "Verdict": "alliance.diagnostics.verdicts",
    "assurance": "alliance.inference.many_fits.assurance",
    "assurance_facts": "alliance.inference.many_fits.assurance",
    "assurance_figure": "alliance.diagnostics.figures.many_fits_figures",
    "assurance_question": "alliance.inference.many_fits.assurance",
    "build_multiverse": "alliance.inference.many_fits.multiverse",
    "calibrate_study": "alliance.inference.many_fits.calibration_runs",
    "calibration_facts": "alliance.inference.many_fits.calibration_runs",
    "calibration_questions": "alliance.inference.many_fits.calibration_runs",
    "fit_multiverse": "alliance.diagnostics.multiverse",
    "fit_registry": "alliance.inference.runs.fitting",
    "load_registry": "alliance.data_prep.registry.registry",
    "multiverse_facts": "alliance.diagnostics.multiverse",
    "multiverse_figure": "alliance.diagnostics.figures.many_fits_figures",
    "multiverse_summary": "alliance.diagnostics.multiverse",
    "open_cluster": "alliance.inference.many_fits.cluster",
    "open_store": "alliance.inference.many_fits.task_store",
    "rank_figure": "alliance.diagnostics.figures.many_fits_figures",
    "sample_therapists": "alliance.data_prep.registry.registry",
    "average": "alliance.inference.answers.averages",
    "best_figure": "alliance.diagnostics.figures.effect_figures",
    "bundled_studies": "alliance.data_prep.study.description",
    "calibration_figure": "alliance.diagnostics.figures.loo_figures",
    "check_convergence": "alliance.diagnostics.gate.gate",
    "check_fit": "alliance.diagnostics.gate.fit_gate",
    "check_loo": "alliance.diagnostics.checks.loo_checks",
    "check_predictive": "alliance.diagnostics.checks.predictive_checks",
    "check_sensitivity": "alliance.diagnostics.checks.sensitivity_checks",
    "check_priors": "alliance.diagnostics.checks.prior_check",
    "compare": "alliance.inference.published.comparison",
    "compare_loo": "alliance.inference.leaving_out.leave_one_out_comparison",
    "contrast_figure": "alliance.diagnostics.figures.contrast_figure",
    "decisions": "alliance.inference.answers.decisions",
    "distribution_figure": "alliance.diagnostics.figures.predictive_figures",
    "effect_figure": "alliance.diagnostics.figures.effect_figures",
    "effects_along": "alliance.inference.answers.effects",
    "effects_table": "alliance.inference.answers.effects",
    "elpd_figure": "alliance.diagnostics.figures.loo_figures",
    "explained_variance": "alliance.inference.pointwise.explained_variance",
    "find_profile": "alliance.inference.sampling.profiles",
    "find_study": "alliance.data_prep.study.description",
    "fit_trial": "alliance.inference.runs.fitting",
    "gate_table": "alliance.diagnostics.gate.fit_gate",
    "influence": "alliance.inference.leaving_out.influence",
    "influence_figure": "alliance.diagnostics.figures.sensitivity_figures",
    "leave_one_out": "alliance.inference.leaving_out.leave_one_out",
    "leave_therapist_out": "alliance.inference.leaving_out.leave_therapist_out",
    "junit_xml": "alliance.diagnostics.gate.junit",
    "load_fit": "alliance.inference.runs.run_folder",
    "load_trial": "alliance.data_prep.trial.trial",
    "loo_check": "alliance.diagnostics.checks.loo_checks",
    "loo_figure": "alliance.diagnostics.figures.loo_figures",
    "loo_pit": "alliance.inference.leaving_out.leave_one_out",
    "narrowed": "alliance.data_prep.study.description",
    "pareto_k_figure": "alliance.diagnostics.figures.loo_figures",
    "patient_grid": "alliance.inference.patients.asked_patients",
    "patients_from_file": "alliance.inference.patients.patient_files",
    "patients_from_frame": "alliance.inference.patients.patient_files",
    "power_scaling": "alliance.inference.priors.power_scaling",
    "power_scaling_figure": "alliance.diagnostics.figures.sensitivity_figures",
    "predict": "alliance.inference.answers.predictions",
    "prediction_figure": "alliance.diagnostics.figures.prediction_figure",
    "predictive_check": "alliance.diagnostics.checks.predictive_checks",
    "prior_refits": "alliance.inference.priors.prior_refits",
    "prior_refits_figure": "alliance.diagnostics.figures.sensitivity_figures",
    "prior_check": "alliance.diagnostics.checks.prior_check",
    "prior_figure": "alliance.diagnostics.figures.prior_figure",
    "read_published": "alliance.inference.published.published",
    "read_study": "alliance.data_prep.study.description",
    "refit": "alliance.inference.published.refits",
    "runs_beside": "alliance.inference.runs.beside",
    "save_figure": "alliance.diagnostics.figures.comparison_figure",
    "reproduce": "alliance.inference.runs.reproduction",
    "save_fit": "alliance.inference.runs.run_folder",
    "score_figure": "alliance.diagnostics.figures.effect_figures",
    "simulate_trial": "alliance.data_prep.simulator.simulation",
    "specify": "alliance.models.spec",
    "statistics_figure": "alliance.diagnostics.figures.predictive_figures",
    "therapist_figure": "alliance.diagnostics.figures.therapist_figure",
    "therapist_means_figure": "alliance.diagnostics.figures.predictive_figures",
    "therapists": "alliance.inference.answers.therapists",
    "trial_from_frame": "alliance.data_prep.trial.trial",
    "trial_patients": "alliance.inference.patients.asked_patients",
    "unseen_improvement": "alliance.inference.answers.unseen_improvement",
    "unseen_improvement_figure": "alliance.diagnostics.figures.sensitivity_figures",
    "write_junit": "alliance.diagnostics.gate.junit",
    "write_simulated": "alliance.data_prep.simulator.simulation",
}

__all__ = ["__version__", *sorted(_HOMES)]  # names of the table above


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'alliance' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
