"""Many fits at once: calibration, assurance, multiverse, and the cluster they run on."""
