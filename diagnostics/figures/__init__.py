"""Figures: one file for each picture, and what they have in common."""
