"""All outcomes of a study in one model."""
