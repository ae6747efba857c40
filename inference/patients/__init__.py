"""Patients whom a question asks about: grids, files, the trial's own."""
