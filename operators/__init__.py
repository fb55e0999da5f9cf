"""What each stage of the risk flow does: state and mathematics, one verb after the other, in the data's order.

    decode      raw records -> columns, pseudonyms, and what could not be read
    featurize   columns -> what each user did lately, as features in [0, 1]
    score       features -> how unusual, and how far in the risky direction
    calibrate   score -> the share of past scores at least as high
    tier        tail probability -> tier, the user's standing, reasons
    encode      decisions -> records for the output topics

Each name is at once the module, the step id of the flow, the test's name and the metric's label. `rekey` and `explain`
are each the one stage of a flow of its own; `observe`, `accumulate` and an `encode` of their own (`accumulate/encode`)
are those of the experiments flow, and `merge` that of the readouts flow. Beside the stages: `batches` (what flows
between them), `control` (what travels with it), `state` (what a stage is and how it is written down), `stage` (the
Bytewax operator around one), `capture` (what explanations will need), `metrics`, `compiled`, `hashing` (where a key is
in a table), `partitioner` (where publishers put one).
"""

__all__ = ["decode", "featurize", "score", "calibrate", "tier", "encode"]  # noqa: RUF022  the data's order
