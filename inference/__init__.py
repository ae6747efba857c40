"""The third room: from models to draws, and from draws to tables on the outcome's own scale.

In come a `Trial`, specifications and a `SamplerProfile`. Out goes a `Fit`: for each outcome a
DataTree of draws, with the manifest that says how they came about. The drawers: `sampling` makes
draws and `draws` keeps them (`draws.datatree` is the only module that touches the groups of a
DataTree); `scores` has the linear predictor and what is expected of patients; `estimands` what is
reported, to the tidy table; `runs` fits a study, writes its folder and reads it back; `patients`
whom a question asks about, and `answers` what the draws say of them; `pointwise`, `leaving_out` and
`priors` what the checks of the model stand on; `published` the findings, the linear models again
and the comparison; `many_fits` calibration, assurance and multiverse. It imports `models` and
`data_prep`.
"""
