"""A synthetic stream with planted abuse, the tally of what was caught, and the live view of `tidegate demo`."""
