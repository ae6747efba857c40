"""What a study file says: its keys, the rules between them, and what is said of faults."""
