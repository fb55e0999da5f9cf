"""Experiments: what can be said of arms at any time, as pure functions on arrays. No Kafka, no clock, no chance.

- `assignment`: which arm a unit is in, and how weights change while the fewest units move;
- `assigner`: the same for a whole definition: its namespace, its phases, its end;
- `sums`: what is kept of an arm: counts, sums and products that add up over partitions;
- `effects`: from sums to lifts and their variances, with and without a covariate;
- `strata`: effects over phases that had other weights, and between strata;
- `intervals`: always-valid intervals and e-values, and fixed ones beside them;
- `running`: what is remembered between two looks: the intersection, the largest e-value, the burn-in;
- `multiple`: Bonferroni, Holm and e-BH;
- `srm`: whether units arrive in the shares that were designed;
- `power`: how many units an effect takes, and what is seen with those there are;
- `planning`: what a whole experiment takes, with its arms, a covariate and the N* of its sequential test;
- `totals`: parts of all partitions put together, and groups of strata;
- `looking`, `memory`, `looks`: one look at everything, what is remembered of it, and when one is taken;
- `sample_ratio`: the sample ratio over phases and strata;
- `readout`, `verdicts`: the figures that are published, and what they say to do;
- `special`: the few special functions that these need.
"""
