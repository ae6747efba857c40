"""The exact Gaussian model: therapist effects integrated out in closed form."""
