"""Several trials in one model: an average one, each of them, and a new one."""
