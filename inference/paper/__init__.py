"""What follows from printed numbers alone: consistency, posteriors, therapists, several trials."""
