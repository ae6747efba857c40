"""The report of a run: one HTML file that a person can read, print and send.

Each section is a small file with one function, which takes the run's `material.Material` and gives
a `parts.Section`: paragraphs, tables, figures, formulas. `sections` has them in their order,
`page` makes the file of them, `exports` the tables for other programs. The file needs no script, no
font and no address outside itself, and holds no patient's row and no patient's identifier.
"""
