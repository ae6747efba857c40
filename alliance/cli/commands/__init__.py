"""The commands: names, options and help; quick to import."""
