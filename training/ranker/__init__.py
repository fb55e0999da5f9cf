"""The ranker: from lists as they were served, and what was clicked of them, to trees; in the order of the data.

- `lists`: served lists with grades, and their division by time;
- `learner`: LambdaMART by LightGBM, unbiased by place;
- `export`: LightGBM's trees as a `schemas.ranker.Trees`;
- `calibration`: from scores to probabilities of a click;
- `measures`: how good an order is, beside popularity and the order that was served;
- `train`: all of it.
"""
