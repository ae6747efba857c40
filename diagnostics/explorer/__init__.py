"""One page that answers by itself: draws of a run, and scripts that count and order them."""
