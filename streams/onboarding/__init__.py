"""A new institution's first folder, and what a look at it says."""
