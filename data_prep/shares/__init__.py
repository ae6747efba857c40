"""Cross-products that a data owner sends in place of rows: made with care, read, and pooled."""
