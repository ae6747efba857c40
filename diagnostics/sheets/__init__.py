"""The tables of the project, one function each: from an answer to a `diagnostics.sheet.Sheet`."""
