"""The metrics of experiments, after `operators.metrics`: name, what it shows, labels beyond flow and partition.

Names that end in `_total` are counters, given as the stages' totals; all others are gauges.
"""

from typing import Final

OF_EXPERIMENTS: Final[tuple[tuple[str, ...], ...]] = (
    # Observe, accumulate: experiments and their units.
    ("tidegate_experiments", "Definitions of experiments applied."),
    ("tidegate_exposures_misassigned_total", "Exposures to another variation than the unit's bucket has."),
    ("tidegate_units", "Units by first exposure, once for each experiment they are in."),
    ("tidegate_units_open", "Of these, units whose attribution window is not over."),
    ("tidegate_units_refused_total", "Exposures, metric records and units that do not count.", "reason"),
    ("tidegate_pending_records", "Records and decisions kept for exposures that may come yet."),
    ("tidegate_parts_written_total", "Totals of experiments, or of items, written."),
    ("tidegate_parts_waiting", "Experiments, or items, whose totals changed and wait to be written."),
    # Merge.
    ("tidegate_experiments_decided", "Experiments by what their newest decision says.", "decision"),
    ("tidegate_sample_ratio_alarms", "Experiments to whose arms units did not come in the declared shares."),
    ("tidegate_readout_time_seconds", "Stream time of the newest readout."),
    ("tidegate_readouts_pending", "Experiments with newer totals than their newest readout."),
    ("tidegate_experiments_refused_total", "Totals and definitions that found no room."),
    ("tidegate_parts_superseded_total", "Totals that were older than those held."),
)
