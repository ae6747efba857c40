"""What the draws answer: predictions, effects, decisions, therapists."""
