"""The model written out patient by patient: every family and option."""
