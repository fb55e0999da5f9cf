"""The page about ranking: how good and how fair lists were, from `ranking.quality`.

about     records of all partitions, put together
charts    what changed with time, and how honest probabilities are
tables    the figures
page      all of it, as one HTML file
"""
