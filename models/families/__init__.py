"""Outcome families: likelihood, link and expected score, for symbols and for draws."""
