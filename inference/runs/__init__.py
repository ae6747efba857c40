"""A fitted study: made, written to its folder, read back, and reproduced."""
