"""What is reported, from draws to the tidy table."""
