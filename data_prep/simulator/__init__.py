"""Trials that are made up: from the published inputs, or imagined patients."""
