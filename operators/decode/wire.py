"""Publishers' records as they are read: times parsed at once, whole numbers also when written `1.7e12`.

What is free in form is checked to be JSON and not built.
"""

from datetime import datetime
from typing import Annotated

import msgspec

from schemas.event import Event
from schemas.exposure import Exposure
from schemas.metric import MetricRecord

Stamp = int | float | Annotated[datetime, msgspec.Meta(tz=True)]


class WireEvent(Event, frozen=True, kw_only=True, gc=False):
    """`Event` as it is read."""

    timestamp: Stamp  # type: ignore[assignment]
    fields: dict[str, msgspec.Raw] | None = None


class WireExposure(Exposure, frozen=True, kw_only=True, gc=False):
    """`Exposure` as it is read."""

    timestamp: Stamp  # type: ignore[assignment]
    attributes: dict[str, msgspec.Raw] | None = None


class WireMetric(MetricRecord, frozen=True, kw_only=True, gc=False):
    """`MetricRecord` as it is read."""

    timestamp: Stamp  # type: ignore[assignment]
    fields: dict[str, msgspec.Raw] | None = None
