"""A multiverse: the fits of all its analyses, each judged, and what they say together."""
