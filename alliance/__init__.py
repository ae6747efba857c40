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
from typing import Any

from alliance._version import __version__

# Names are fetched when they are first used: `alliance --help` must not wait for PyMC.
_HOMES = {
    "DataError": "data_prep.errors",
    "Finding": "inference.findings",
    "Fit": "inference.fit",
    "GateReport": "diagnostics.gate",
    "InputError": "data_prep.errors",
    "LeaveOneOut": "inference.leave_one_out",
    "ModelSpec": "models.spec",
    "PriorCheck": "diagnostics.prior_check",
    "Priors": "models.priors",
    "Reproduction": "inference.reproduction",
    "SamplerProfile": "inference.profiles",
    "Study": "data_prep.study",
    "TherapistChoice": "inference.predictor",
    "Thresholds": "inference.score_thresholds",
    "Trial": "data_prep.trial",
    "Verdict": "diagnostics.verdicts",
    "Yardstick": "inference.yardsticks",
    "assurance": "inference.assurance",
    "assurance_facts": "inference.assurance",
    "assurance_figure": "diagnostics.assurance_figure",
    "assurance_question": "inference.planned_trials",
    "build_multiverse": "inference.multiverse",
    "calibrate_study": "inference.calibration_runs",
    "calibration_facts": "inference.calibration_runs",
    "calibration_questions": "inference.calibration_runs",
    "fit_multiverse": "diagnostics.multiverse_fits",
    "fit_registry": "inference.fitting",
    "load_registry": "data_prep.registry",
    "multiverse_facts": "diagnostics.multiverse_fits",
    "multiverse_figure": "diagnostics.multiverse_figure",
    "multiverse_summary": "diagnostics.multiverse_table",
    "open_cluster": "inference.cluster",
    "open_store": "inference.task_store",
    "rank_figure": "diagnostics.rank_figure",
    "sample_therapists": "data_prep.therapist_sample",
    "average": "inference.averages",
    "best_figure": "diagnostics.effect_figures",
    "bundled_studies": "data_prep.study",
    "calibration_figure": "diagnostics.loo_figures",
    "check_convergence": "diagnostics.gate",
    "check_fit": "diagnostics.fit_gate",
    "check_loo": "diagnostics.loo_checks",
    "check_predictive": "diagnostics.predictive_checks",
    "check_sensitivity": "diagnostics.sensitivity_checks",
    "check_priors": "diagnostics.prior_check",
    "compare": "inference.comparison",
    "compare_loo": "inference.leave_one_out_comparison",
    "contrast_figure": "diagnostics.contrast_figure",
    "decisions": "inference.decisions",
    "distribution_figure": "diagnostics.predictive_figures",
    "effect_figure": "diagnostics.effect_figures",
    "effects_along": "inference.effects",
    "effects_table": "inference.effect_tables",
    "elpd_figure": "diagnostics.loo_figures",
    "explained_variance": "inference.explained_variance",
    "find_profile": "inference.profiles",
    "find_study": "data_prep.study",
    "fit_trial": "inference.fitting",
    "gate_table": "diagnostics.fit_gate",
    "influence": "inference.influence",
    "influence_figure": "diagnostics.sensitivity_figures",
    "leave_one_out": "inference.leave_one_out",
    "leave_therapist_out": "inference.leave_therapist_out",
    "junit_xml": "diagnostics.junit",
    "load_fit": "inference.run_folder",
    "load_trial": "data_prep.trial",
    "loo_check": "diagnostics.loo_checks",
    "loo_figure": "diagnostics.loo_figures",
    "loo_pit": "inference.leave_one_out_pit",
    "narrowed": "data_prep.study",
    "pareto_k_figure": "diagnostics.loo_figures",
    "patient_grid": "inference.asked_patients",
    "patients_from_file": "inference.patient_files",
    "patients_from_frame": "inference.patient_files",
    "power_scaling": "inference.power_scaling",
    "power_scaling_figure": "diagnostics.sensitivity_figures",
    "predict": "inference.predictions",
    "prediction_figure": "diagnostics.prediction_figure",
    "predictive_check": "diagnostics.predictive_checks",
    "prior_refits": "inference.prior_refits",
    "prior_refits_figure": "diagnostics.sensitivity_figures",
    "prior_check": "diagnostics.prior_check",
    "prior_figure": "diagnostics.prior_figure",
    "read_published": "inference.published",
    "read_study": "data_prep.study",
    "refit": "inference.refits",
    "runs_beside": "inference.beside",
    "save_figure": "diagnostics.comparison_figure",
    "reproduce": "inference.reproduction",
    "save_fit": "inference.run_folder",
    "score_figure": "diagnostics.effect_figures",
    "simulate_trial": "data_prep.simulation",
    "specify": "models.spec",
    "statistics_figure": "diagnostics.predictive_figures",
    "therapist_figure": "diagnostics.therapist_figure",
    "therapist_means_figure": "diagnostics.predictive_figures",
    "therapists": "inference.therapists",
    "trial_from_frame": "data_prep.trial",
    "trial_patients": "inference.asked_patients",
    "unseen_improvement": "inference.unseen_improvement",
    "unseen_improvement_figure": "diagnostics.sensitivity_figures",
    "write_junit": "diagnostics.junit",
    "write_simulated": "data_prep.simulation",
}

__all__ = ["__version__", *sorted(_HOMES)]  # names of the table above


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'alliance' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
