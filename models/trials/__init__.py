"""Several trials in one model: effects that vary between them, integrated out or sampled."""
