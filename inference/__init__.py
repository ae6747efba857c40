"""The third room: from models to draws, and from draws to tables on the outcome's own scale.

In come a `Trial`, specifications and a `SamplerProfile` (`inference.sampling.profiles`). Out goes a
`Fit` (`fit`): for each outcome a DataTree of draws, with the manifest that says how they came
about. Here live the sampling, compiled once for each shape and the same for the same seed
(`sampling`), the run folder (`run_folder`), the reported quantities (`estimands`) and their tidy
table (`summary`), the refits of the same formula by OLS and REML (`refits`), published findings and
the words of the verdicts on them (`published`, `findings`), and the comparison of all these side by
side (`comparison`). `datatree` is the only module that touches the groups of a DataTree. It imports
`models` and `data_prep`.
"""
