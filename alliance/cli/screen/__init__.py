"""What a person sees on the terminal: tables, notes, progress."""
