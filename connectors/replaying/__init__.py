"""Dead letters published again, exactly once: what is asked for, what was settled before, and the work itself."""
