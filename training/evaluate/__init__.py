"""Evaluate: how well the flow finds what a labelled file says was risky; in the order of the data.

- `replay`: a file's events through the stages of the flow, one set of stages per partition;
- `tables`: plain rows of numbers through forest and evidence alone, over several seeds;
- `figures`: ROC, average precision, budgets, delays, stability, reliability: arithmetic on columns;
- `baselines`: what the flow must beat: single features, Isolation Forest;
- `assess`: a replay and its labels, to an `evaluation`: every figure, as it is written to JSON;
- `scaling`: the same over other numbers of partitions, on the events that all know;
- `charts`, `markup`, `panels`, `words`: figures as SVG, HTML and text; `page` and `table_page`: all of it on one page.
"""
