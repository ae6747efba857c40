"""Tables of cells from files of any format, and what a cell and a column say."""
