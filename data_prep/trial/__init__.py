"""A trial: its patients checked against the study, counted, and without identifiers."""
