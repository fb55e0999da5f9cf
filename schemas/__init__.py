"""The messages of every topic, and the registry topic -> record -> version.

Schemas grow, never change: a new field has a default and comes last. Messages under `tests/schemas/golden/v1` must
decode for ever, and old readers must survive new fields.
"""
