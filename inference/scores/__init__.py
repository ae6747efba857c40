"""Scores of patients from draws: the linear predictor, and what is expected from it."""
