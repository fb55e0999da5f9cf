"""What the accumulate stage answers: a batch that it counted, and what it knows of an experiment."""

from dataclasses import dataclass

from operators.accumulate.observed import Observations
from operators.batches import F64, U8, Rejected, Span
from schemas.definition import Definition


@dataclass(frozen=True, slots=True)
class Accumulated:
    """One stretch of `exposures`, counted.

    Attributes:
        observations: as given.
        flags: of each row 0 where it counts or nothing asks for it, else 1 + the place in `REASONS` of why it does not,
            shape (rows,).
    """

    observations: Observations
    flags: U8

    @property
    def span(self) -> Span:
        """The stretch of input this batch answers."""
        return self.observations.span

    @property
    def topic(self) -> str:
        """The topic's full name."""
        return self.observations.topic

    @property
    def rejected(self) -> list[Rejected]:
        """Records that could not be read."""
        return self.observations.rejected

    @property
    def events(self) -> int:
        """Number of records, readable or not."""
        return self.observations.events


@dataclass(frozen=True, slots=True)
class Totals:
    """What a partition knows of one experiment; arrays are copies, laid out as in `schemas.part.Part`.

    Attributes:
        definition: that was applied.
        metrics: names.
        stream_ms: stream time, None before the first record.
        matured: sums of units whose windows are over, shape (metrics, phases, strata, arms, 15).
        matured_low: what `matured` leaves out.
        open: units with open windows, their sums of y and d, shape (metrics, phases, strata, arms, 3).
        exposed: units, shape (phases, strata, arms).
        several: of these, that were shown more than one variation.
        first_ms: first exposure, None if there is none.
        refused: by reason, where it is not 0.
    """

    definition: Definition
    metrics: tuple[str, ...]
    stream_ms: int | None
    matured: F64
    matured_low: F64
    open: F64
    exposed: F64
    several: F64
    first_ms: int | None
    refused: dict[str, int]
