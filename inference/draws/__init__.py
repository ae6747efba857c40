"""Draws: where they are kept, and what follows from them patient by patient."""
