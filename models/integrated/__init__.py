"""Therapist effects integrated out numerically, for the families that have no closed form."""
