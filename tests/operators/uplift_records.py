"""Records of the topic `uplift`, as `tidegate experiments uplift --publish` writes them."""

import msgspec
from made_lists import NOW

from operators.side import Side
from schemas.uplift import Uplift


def uplift(variation, *, experiment="x", segment="all", effect=0.1, better="up", control="control", time_ms=NOW):
    """A record whose interval is the effect and .05 on both sides."""
    lower, upper = (None, None) if effect is None else (effect - 0.05, effect + 0.05)
    return Uplift(
        experiment=experiment,
        version=1,
        timestamp=time_ms,
        segment=f"{variation}/{segment}",
        variation=variation,
        control=control,
        metric="revenue",
        better=better,
        treated=100,
        controls=100,
        effect=effect,
        lower=lower,
        upper=upper,
        level=0.95,
    )


def said(records, first=0):
    """A side of records, or of (key, value) as they stand."""
    pairs = [
        (f"{each.experiment}/{each.segment}".encode(), msgspec.json.encode(each)) if isinstance(each, Uplift) else each
        for each in records
    ]
    n = len(pairs)
    keys, values = [key for key, _ in pairs], [value for _, value in pairs]
    return Side(0, "uplift", 5, first, first + n, values, keys, list(range(first, first + n)), [NOW] * n)


def taken(stage, *records):
    """Show records to a stage; return the side."""
    side = said(records)
    stage.take_side(side)
    return side
