"""The figures of a burst, and the median of several."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Measured:
    """What one of them did."""

    name: str
    fires: int
    fires_per_s: float
    late_p50_ms: float
    late_p99_ms: float
    late_max_ms: float
    idle_mb: float | None = None
    peak_mb: float | None = None
    cpu_us: float | None = None


def measured(
    name: str, due: float, began: Sequence[float], ended: float, **more: float
) -> Measured:
    """The figures of N fires that were due at one instant."""
    late = sorted((at - due) * 1000 for at in began)
    return Measured(
        name,
        len(late),
        round(len(late) / (ended - due), 1),
        *(round(figure, 1) for figure in (quantile(late, 0.5), quantile(late, 0.99), late[-1])),
        **{key: round(figure, 1) for key, figure in more.items()},
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """Of ordered values."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def middle(runs: Sequence[Measured]) -> Measured:
    """The median of each figure."""
    found: dict[str, Any] = {"name": runs[0].name, "fires": runs[0].fires}
    for key in list(asdict(runs[0]))[2:]:
        values = [getattr(run, key) for run in runs]
        found[key] = None if None in values else round(statistics.median(values), 1)
    return Measured(**found)
