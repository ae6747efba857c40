"""The command line: the program, and how every command runs."""
