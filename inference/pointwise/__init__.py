"""The trial's own patients one by one: likelihood, replicates, variance explained."""
