"""What each stage of the risk flow does: state and mathematics, one verb after the other, in the data's order.

    decode      raw records -> columns, pseudonyms, and what could not be read
    featurize   columns -> what each user did lately, as features in [0, 1]
    score       features -> how unusual, and how far in the risky direction
    calibrate   score -> the share of past scores at least as high
    tier        tail probability -> tier, the user's standing, reasons
    encode      decisions -> records for the output topics

Each name is at once the module, the step id of the flow, the test's name and the metric's label. `rekey` and `explain`
are each the one stage of a flow of its own; `observe`, `accumulate` and an `encode` of their own (`accumulate/encode`)
are those of the experiments flow, `merge` that of the readouts flow. Of the flows of ranking, `notice` and `signals`
(counting, and a writer of its own) are those of the interactions flow, `signals` (adding up) that of the signals flow,
and `notice`, `recall`, `rank`, `rerank`, `judge` and `answer` those of the ranking flow.

Beside the stages:

    what flows between them     batches; noticed, lists (in the flows of ranking); side (records of other topics);
                                control (what travels with them)
    what a stage is             state, stage (the Bytewax operator around one), parts (snapshots of what changed),
                                fingerprint (of a configuration)
    what several of them use    entities (bounded tables by key), texts (by row), fading (sums that halve), waiting
                                (rows ahead of time), sketch, hashing (where a key is in a table), doubles, partitioner
                                (where publishers put one)
    what is written alike       audit, dead_letter, capture (what explanations will need), metrics, metrics_of_*
    what makes it fast          compiled, prefetch
    of the settings             own_feature
"""

__all__ = ["decode", "featurize", "score", "calibrate", "tier", "encode"]  # noqa: RUF022  the data's order
