"""From a design to draws: the engines, their profiles and what they compile."""
