"""From a data file to a first study file: what its columns are, by names, labels and values."""
