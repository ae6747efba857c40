"""Checks of the model: replicated data, priors, leave-one-out, sensitivity, the multiverse."""
