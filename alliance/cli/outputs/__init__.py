"""What the commands do: they call the rooms, print and choose the exit code."""
