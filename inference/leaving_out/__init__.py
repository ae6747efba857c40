"""Patients and therapists left out: predictive fit and influence."""
