"""The command line: `app` has the commands' names, `commands` one function for each."""
