"""Uplift: for whom a variation does how much more than the control; in the order of the data.

- `tables`: attributes of units, whatever they are, to a matrix of numbers;
- `learner`: a T-learner of two LightGBM models, cross-fitted: each unit is judged by models that never saw it;
- `curves`: Qini and uplift curves and the areas under them, each convention under its own name;
- `deciles`: the effect by decile of predicted uplift, with intervals, and whether predictions are calibrated;
- `effects`: the effect over all units: difference in means; doubly robust, for what was not randomised;
- `estimate`: all of it on one set of units;
- `figure`: the deciles drawn, as SVG.
"""
