"""The first room: from a study's description and a table file to a validated trial.

In come a ``study.toml`` and a table (CSV, TSV, Excel, Parquet, Stata, SPSS). Out goes a `Trial`
(`data_prep.trial.trial`): labelled arrays, the counts of who was left out of each outcome and why,
and notes on what the user should know. Here live the study description (`study`), the table readers
(`tables`), the checks that return all faults at once and questionnaire scoring (`trial`), tables in
many files (`registry`), the simulator of a trial like the published one (`simulator`), the
cross-products within therapists (`moments`), and the one module of errors (`errors`). Patient
identifiers stay in this room: what leaves it knows patients by position only. It imports no other
room, no PyMC and no sampler.
"""
