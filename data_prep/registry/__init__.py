"""A trial in many files, larger than memory: checked part by part, kept as cross-products."""
