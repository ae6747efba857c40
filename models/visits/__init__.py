"""Outcomes over time: several visits of each patient, therapist effects integrated out."""
