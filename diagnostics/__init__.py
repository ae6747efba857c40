"""The fourth room: whether the draws of a fit may be used.

In comes a `Fit`, or the DataTree of any sampler; out go verdicts: PASS, REVIEW or FAIL for each
check, with the number judged, its limits, what was found and what to do about it. Here live the
convergence gate for one outcome and for a whole fit, on the draws and on what the sampler recorded
(`gate`), the limits of each profile with their sources (`verdicts`), the checks of the model
(`checks`), what a multiverse says (`multiverse`), the figures and the report. The gate is the
project's only convergence check: nutpie makes none of its own. It imports the three rooms before
it.
"""
