"""Faults of a study file, and of the published findings beside it."""

from __future__ import annotations

from spoiled_files import FIT, Case, added, both, data, removed, study, with_items

WRONG_STUDY = [
    Case(
        "missing study file",
        removed("study.toml"),
        ("There is no study file 'study.toml'", "Give a file's path, or a bundled study"),
    ),
    Case("empty study file", data("", "study.toml"), ("'study.toml' is empty", "saved and copied")),
    Case(
        "invalid TOML",
        study(('title = "A small trial"', "title = A small trial")),
        ("study.toml", "line 1", "quotes"),
    ),
    Case(
        "unknown key",
        study(('followup = "gpe_8w"', 'followup = "gpe_8w"\nfamilly = "ordinal"')),
        ("study.toml", "outcomes.gpe.familly", "no such key", "Did you mean 'family'?"),
    ),
    Case(
        "missing key",
        study(('followup = "gpe_8w"\n', "")),
        ("study.toml", "outcomes.gpe.followup", "this key is missing", "Add"),
    ),
    Case(
        "missing table",
        study(('[columns]\npatient = "patient"\ntherapist = "therapist"\narm = "arm"\n', "")),
        ("study.toml", "columns", "this key is missing", "Add"),
    ),
    Case(
        "column that is not there",
        study(('"wai_total"', '"wai_totl"')),
        ("trial.csv wai_totl", "not in the file", "Did you mean 'wai_total'?", "study file"),
    ),
    Case(
        "baseline equal to the column of follow-up",
        study(('"psfs_0"', '"psfs_8w"')),
        ("study.toml", "outcomes.function.baseline", "equal to the column of follow-up", "Name"),
    ),
    Case(
        "range the wrong way round",
        study(("[16, 112]", "[112, 16]")),
        ("study.toml", "moderator.range", "a lowest value followed by a higher one", "[16, 112]"),
    ),
    Case(
        "one arm in the study",
        study(('MCE = "Motor control exercise"\nSMT = "Manipulation"\n', "")),
        ("study.toml", "arms", "1 of at least 2", "two arms at least"),
    ),
    Case(
        "unknown family",
        added('family = "poisson"\n'),
        ("study.toml", "outcomes.gpe.family", "'poisson'", "gaussian"),
    ),
    Case(
        "shift of unseen outcomes in an unknown arm",
        added("[outcomes.gpe.delta]\nMCX = -1\n"),
        ("study.toml", "outcomes.gpe.delta.MCX", "no arm 'MCX'", "Did you mean 'MCE'?"),
    ),
    Case(
        "shift of unseen outcomes wider than the scale",
        added("[outcomes.gpe.delta]\nMCE = -11\n"),
        ("study.toml", "outcomes.gpe.delta.MCE", "is -11", "-5 to 5", "the outcome's own units"),
    ),
    Case(
        "too many missing items allowed",
        both(
            with_items(),
            lambda folder: (
                (folder / "study.toml").write_text(
                    (folder / "study.toml")
                    .read_text()
                    .replace("max_missing = 1", "max_missing = 4")
                )
                and None
            ),
        ),
        ("study.toml", "moderator.max_missing", "is 4, but there are 4 items", "from 0 to 3"),
    ),
    Case(
        "therapist setting misspelt in the study",
        added('[model]\ntherapist = "intercepts"\n'),
        ("study.toml", "model.therapist", "'intercepts'", "Did you mean 'intercept'"),
    ),
    Case(
        "unknown prior",
        added("[priors]\nmoderator_slop = 0.5\n"),
        ("[priors] has no prior 'moderator_slop'", "Did you mean 'moderator_slope'"),
    ),
    Case(
        "negative prior",
        added("[priors]\nmoderator_slope = -0.5\n"),
        ("moderator_slope", "-0.5", "not a positive number", "above zero"),
    ),
    Case(
        "prior that is no number",
        added('[priors]\nmoderator_slope = "wide"\n'),
        ("study.toml", "priors.moderator_slope", "'wide'", "not a number"),
    ),
    Case(
        "published finding on an unknown outcome",
        data(
            '[[finding]]\noutcome = "functoin"\nquantity = "moderator_slope"\nlevel = "average"\n'
            'claim = "present"\nknown_by = "abstract"\nsource = "a paper"\n',
            "published.toml",
        ),
        ("published.toml", "finding 1", "no outcome 'functoin'", "Did you mean 'function'?"),
        (FIT,),
    ),
]
