"""The fourth room: whether the draws of a fit may be used.

In comes a `Fit`, or the DataTree of any sampler; out go verdicts: PASS, REVIEW or FAIL for each
check, with the number judged, its limits, what was found and what to do about it. Here live the
convergence gate for one outcome (`diagnostics.gate.gate`) and for a whole fit (`fit_gate`), its
checks on the draws (`checks`) and on what the sampler recorded (`sampler_checks`), and the limits
of each profile with their sources (`verdicts`). The gate is the project's only convergence check:
nutpie makes none of its own. It imports the three rooms before it.
"""
