"""Ranking: what can be said of a list and done to it, as pure functions on arrays. No Kafka, no clock, no chance.

- `gain`: how good an order is: NDCG with both gains, MRR, MAP, recall, and what a change of order costs;
- `fair`: FA*IR: the fewest protected items of each prefix, corrected for many prefixes, and the least change to it;
- `exposure`: what a place is worth, who gets it, in relation to merit, and an order that shares it out;
- `rates`: rates of items as parts that add up over partitions: smoothed, debiased, weighted by risk; entropy;
- `decay`: sums that fade, and trending;
- `betting`: an alarm on unfair exposure that may be looked at at any time: an e-process;
- `rerank`: the steps after a ranker, one after the other, each with its reasons and its cost.
"""
