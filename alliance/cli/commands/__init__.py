"""The commands: in a function each its options, what it does, and below the tables it prints."""
