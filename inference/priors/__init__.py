"""The priors: their densities, what they expect, and how far results hang on them."""
