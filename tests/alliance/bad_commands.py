"""Faults of the command line, and of the places that it names."""

from __future__ import annotations

from pathlib import Path

import xarray as xr
from spoiled_files import CHECK, FIT, Case, added, both, cell, column, data, nothing, removed

# The command line's own mistakes; the files are sound where nothing else is said.
USAGE = [
    Case(
        "study's name misspelt",
        nothing,
        (
            "no study file 'ferreira2012'",
            "Did you mean 'ferreira2013' or 'ferreira2013_over_time'?",
            "'headache'",
        ),
        (
            ("check", "ferreira2012", "trial.csv"),
            ("fit", "ferreira2012", "trial.csv", "--out", "r"),
        ),
    ),
    Case(
        "folder without a study",
        lambda folder: (folder / "empty").mkdir(),
        ("'empty' holds no study.toml", "Give a file's path"),
        (("check", "empty", "trial.csv"),),
    ),
    Case(
        "unknown outcome",
        nothing,
        ("no outcome 'functoin'", "Did you mean 'function'?"),
        ((*FIT, "--outcome", "functoin"),),
    ),
    Case(
        "negative seed",
        nothing,
        ("'--seed'", "greater than or equal to 0"),
        ((*FIT, "--seed", "-1"),),
    ),
    Case(
        "seed too large",
        nothing,
        ("'--seed'", "less than or equal to 9223372036854775807"),
        ((*FIT, "--seed", str(2**63)), ("demo", "--out", "demo", "--seed", str(2**63))),
    ),
    Case("seed that is no number", nothing, ("'--seed'", "integer"), ((*FIT, "--seed", "x"),)),
    Case(
        "unknown profile",
        nothing,
        ("'--profile'", "'fast'", "'ci', 'standard', 'publication'"),
        ((*FIT[:-1], "fast"),),
    ),
    Case(
        "therapist setting misspelt",
        nothing,
        ("'--therapist'", "'intercpt'", "'none', 'intercept', 'intercept+slope'"),
        ((*FIT, "--therapist", "intercpt"),),
    ),
    Case(
        "shift of unseen outcomes without an arm",
        nothing,
        ("The shift 'function=-2'", "OUTCOME:ARM=SHIFT", "function:MCE=-2"),
        ((*FIT, "--delta", "function=-2"),),
    ),
    Case(
        "shift of unseen outcomes that is no number",
        nothing,
        ("The shift 'function:MCE=two'", "'two' is not a number", "OUTCOME:ARM=SHIFT"),
        ((*FIT, "--delta", "function:MCE=two"),),
    ),
    Case(
        "shift of an unknown outcome",
        nothing,
        ("outcome 'functoin'", "not analysed", "Did you mean 'function'?"),
        ((*FIT, "--delta", "functoin:MCE=-2"),),
    ),
    Case(
        "shift of an outcome that is left out",
        nothing,
        ("outcome 'gpe'", "not analysed", "Valid names: 'function'"),
        ((*FIT, "--outcome", "function", "--delta", "gpe:MCE=-2"),),
    ),
    Case(
        "shift of unseen outcomes in an unknown arm",
        nothing,
        ("outcomes.function.delta.MCX", "no arm 'MCX'", "Did you mean 'MCE'?"),
        ((*FIT, "--delta", "function:MCX=-2"),),
    ),
    Case(
        "format misspelt",
        nothing,
        ("'--format'", "'xml'", "'table', 'csv', 'json'"),
        ((*CHECK, "--format", "xml"), (*FIT, "--format", "xml")),
    ),
    Case(
        "no cores", nothing, ("'--cores'", "greater than or equal to 1"), ((*FIT, "--cores", "0"),)
    ),
    Case("no run folder named", nothing, ("Missing option '--out'",), (FIT[:3],)),
    Case(
        "command misspelt", nothing, ("'chekc'", "Did you mean 'check'?"), (("chekc", *CHECK[1:]),)
    ),
    Case(
        "native family that the scores do not fit",
        both(cell(5, "gpe_8w", "2.5"), added('family = "ordinal"\n')),
        ("trial.csv 5 gpe_8w 2.5", "whole number", "family ordinal", "Correct the cell"),
        ((*FIT, "--likelihood", "native"),),
    ),
    Case(
        "run folder that exists",
        lambda folder: (folder / "run").mkdir(),
        ("'run' exists already", "--out", "--overwrite"),
        (FIT,),
    ),
    Case(
        "file in place of the run folder",
        data("my notes", "run"),
        ("'run' exists already", "--out"),
        (FIT,),
    ),
    Case(
        "folder to overwrite that is no run",
        lambda folder: (folder / "run").mkdir(),
        ("'run' exists and is not a run", "name another folder"),
        ((*FIT, "--overwrite"),),
    ),
    Case(
        "run folder below a file",
        nothing,
        ("trial.csv' is not a folder", "--out"),
        ((*FIT[:4], "trial.csv/run"),),
    ),
    Case(
        "faulty data and a run folder below new ones",
        column("arm", "GE"),
        ("trial.csv arm", "'GE' is the only arm", "the whole trial"),
        ((*FIT[:4], "new/folders/run"),),
    ),
    Case(
        "RUN that is not there",
        nothing,
        ("no run at 'rnu'", "alliance fit --out"),
        (("summary", "rnu"), ("diagnose", "rnu"), ("compare", "rnu")),
    ),
    Case(
        "RUN that is a file",
        nothing,
        ("no run at 'trial.csv'", "alliance fit --out"),
        (("summary", "trial.csv"), ("diagnose", "trial.csv"), ("compare", "trial.csv")),
    ),
    Case(
        "run whose manifest is damaged",
        both(lambda folder: (folder / "run").mkdir(), data('{"format": 1, ', "run/manifest.json")),
        ("run/manifest.json' is damaged", "line 1", "Fit again"),
        (("summary", "run"), ("diagnose", "run"), ("compare", "run")),
    ),
    Case(
        "run whose manifest lacks entries",
        both(lambda folder: (folder / "run").mkdir(), data('{"format": 1}', "run/manifest.json")),
        ("run/manifest.json' is damaged", "specifications", "Fit again"),
        (("summary", "run"), ("diagnose", "run"), ("compare", "run")),
    ),
    Case(
        "run of a later version",
        both(lambda folder: (folder / "run").mkdir(), data('{"format": 99}', "run/manifest.json")),
        ("'run' has another format", "the version of alliance that wrote it"),
        (("summary", "run"), ("diagnose", "run"), ("compare", "run")),
    ),
    Case(
        "simulated trial that is no CSV",
        nothing,
        ("new.xlsx does not end in .csv", "Give a name"),
        (("simulate", "new.xlsx"),),
    ),
    Case(
        "simulated trial where files exist",
        nothing,
        ("'.' holds 'study.toml', 'trial.csv'", "did not write", "another folder"),
        (("simulate", "trial.csv"),),
    ),
    Case(
        "simulated trial without enough patients",
        nothing,
        ("3 patients are too few", "at least 12"),
        (("simulate", "new/trial.csv", "--patients", "3"),),
    ),
    Case(
        "simulated trial with more therapists than patients",
        nothing,
        ("13 therapists are more than the 12 patients", "at most"),
        (("simulate", "new/trial.csv", "--patients", "12", "--therapists", "13"),),
    ),
    Case(
        "simulated trial with too few nested therapists",
        nothing,
        ("2 therapists cannot be nested in 3 arms", "Ask for 3 to 237"),
        (("simulate", "new/trial.csv", "--therapists", "2", "--nested"),),
    ),
    Case(
        "demo in a folder of the user's",
        nothing,
        ("'.' exists and holds no demo", "--out"),
        (("demo", "--out", "."),),
    ),
]


def _without_groups(folder: Path) -> None:
    xr.DataTree().to_netcdf(folder / "run" / "pain.nc", engine="h5netcdf")


def _cut_short(folder: Path) -> None:
    draws = folder / "run" / "pain.nc"
    draws.write_bytes(draws.read_bytes()[:5000])


READERS = (("summary", "run"), ("diagnose", "run"), ("compare", "run"))

# Each begins with a sound run in the folder `run`, and the simulated trial of which it is.
RUNS = [
    Case(
        "interval above one",
        nothing,
        ("probability 1.5 is not between 0 and 1", "for example 0.95"),
        (("summary", "run", "--interval", "1.5"), ("compare", "run", "--interval", "1.5")),
    ),
    Case(
        "interval of zero",
        nothing,
        ("probability 0 is not between 0 and 1", "for example 0.95"),
        (("summary", "run", "--interval", "0"),),
    ),
    Case("draws cut short", _cut_short, ("run/pain.nc' is damaged", "Fit again"), READERS),
    Case(
        "draws without their groups",
        _without_groups,
        ("run/pain.nc' is damaged or was changed", "Fit again"),
        READERS,
    ),
    Case("draws deleted", removed("run/pain.nc"), ("'run' lacks pain.nc", "Fit again"), READERS),
    Case(
        "flow counts emptied",
        data("", "run/flow.csv"),
        ("run/flow.csv' is damaged", "Fit again"),
        READERS,
    ),
    Case(
        "run's study file emptied",
        data("", "run/study.toml"),
        ("run/study.toml' is empty",),
        READERS,
    ),
    Case(
        "data to compare with that are not there",
        nothing,
        ("no data file 'trail.csv'", "Did you mean 'trial.csv'?"),
        (("diagnose", "run", "--data", "trail.csv"),),
    ),
    Case(
        "study to compare with that is not there",
        nothing,
        ("no study file 'ferreira'", "bundled study"),
        (("diagnose", "run", "--study", "ferreira"),),
    ),
    Case(
        "published findings that are not there",
        nothing,
        ("no file of published findings 'publishd.toml'", "Did you mean 'published.toml'"),
        (("compare", "run", "--published", "publishd.toml"),),
    ),
    Case(
        "published findings on an unknown outcome",
        lambda folder: (
            (folder / "other.toml").write_text(
                (folder / "published.toml")
                .read_text()
                .replace('outcome = "pain"', 'outcome = "pian"')
            )
            and None
        ),
        ("other.toml", "finding 3", "no outcome 'pian'", "Did you mean 'pain'?"),
        (("compare", "run", "--published", "other.toml"),),
    ),
    Case(
        "older run that may not be replaced",
        nothing,
        ("'run' exists already", "--overwrite"),
        (FIT,),
    ),
    Case(
        "faulty data for a run that may be replaced",
        lambda folder: (
            (folder / "trial.csv").write_text(
                (folder / "trial.csv").read_text().replace(",GE,", ",GEE,")
            )
            and None
        ),
        ("trial.csv", "arm GEE", "Did you mean 'GE'?"),
        ((*FIT, "--overwrite"),),
    ),
]
