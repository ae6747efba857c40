"""The alliance as a model of its own: missing, mismeasured, at its ceiling, between therapists."""
