"""Signals of items: what happens to each item in a partition, what of it adds up, and what it comes to.

rows         what the stage is given: interactions as columns
config       bounds, windows, and what a click at each place is worth
items        what is kept of an item: panes of windows, and sums that fade
audience     who clicked and bought: distinct users and entropy
loop         the rows, one after the other
totals       what is handed on of an item: parts of partitions add up
stage        all of it: `CountItems`
weights      what interactions of a user count, by risk tier
count        the stage of the interactions flow: `CountItems`, weights, and ids of items
parts        what is handed on, as records; read defensively
encode       the last stage of the interactions flow: parts and dead letters
held         what is held of items where parts meet
merge        parts of all partitions by item, and which items are due to be written: `MergeItems`
described    what was said of items, field by field
gather       the stage of the signals flow: `MergeItems`, descriptions, records
written      signals as records
values       rates, shares, velocity, trending, entropy of what was added up
"""
