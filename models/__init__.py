"""The second room: from a trial's analysed patients and a specification to a PyMC model.

In come the patients of one outcome and a `ModelSpec` (`models.spec`), which says what to fit and
knows no data. They become a `Design` (`design`), standardised arrays with a name for every column
and no PyMC, and from it a `pymc.Model`, which knows no sampler. Here live the priors with their
sources (`priors`), the exact Gaussian model with the therapist effects integrated out
and what follows from its draws by arithmetic (`gaussian`), the alliance as a model of its own
(`ratings`), outcome families (`families`), all outcomes at once (`joint`), and the same model
written patient by patient (`patients`), the readable reference that tests hold the exact one
against. It imports `data_prep` alone.
"""
