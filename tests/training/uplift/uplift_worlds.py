"""Simulated experiments whose effects are known, for the tests of uplift."""

import numpy as np

NAMES = ("a", "b", "c", "d")


class World:
    """Units with four attributes, an outcome, and the true effect on each.

    Attributes of `World(seed, n)`: attributes, outcome, treated, code, effect (the truth); the outcome's noise has
    deviation 1, and `strength` is the deviation of the effect over units.
    """

    def __init__(self, seed, n, strength=0.7, mean=0.3):
        draws = np.random.default_rng(seed)
        x = draws.random((n, len(NAMES)))
        self.attributes = [dict(zip(NAMES, map(float, row), strict=True)) for row in x]
        self.treated = draws.random(n) < 0.5
        # Uniform: deviation 1 / sqrt(12).
        self.effect = mean + strength * np.sqrt(12.0) * (x[:, 0] - 0.5)
        base = x[:, 1] + np.sin(6.0 * x[:, 2])
        self.outcome = base + self.treated * self.effect + draws.normal(0.0, 1.0, n)
        self.code = draws.permutation(n).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)

    def parts(self):
        return self.attributes, self.outcome, self.treated, self.code
