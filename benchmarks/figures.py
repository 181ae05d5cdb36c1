"""The figures of a burst and of spread fires, and their medians."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class BurstFigures:
    """The figures of one system for one burst; a burst that was cut off has infinite lateness."""

    name: str
    fires: int
    fires_per_s: float
    late_p50_ms: float
    late_p99_ms: float
    late_p999_ms: float
    late_max_ms: float
    idle_mb: float | None = None
    peak_mb: float | None = None
    after_mb: float | None = None
    cpu_us: float | None = None
    """Processor time for each fire."""


@dataclass(frozen=True)
class Lateness:
    """The lateness of fires that were spread over some seconds."""

    name: str
    fires: int
    p50_ms: float
    p99_ms: float
    max_ms: float


def burst_figures(
    name: str,
    due: float,
    began: Sequence[float],
    ended: float,
    count: int | None = None,
    done: int | None = None,
    **usage: float,
) -> BurstFigures:
    """Return the figures of fires that were due at one instant.

    Args:
        name: the system's.
        due: the instant.
        began: when each action started.
        ended: when the last completion was durable, or the burst was cut off.
        count: how many were due; by default, those that began.
        done: how many completed; by default, all.
        usage: see `ResourceUsage.figures`.
    """
    count = len(began) if count is None else count
    late = sorted((at - due) * 1000 for at in began) + [math.inf] * (count - len(began))
    return BurstFigures(
        name,
        count,
        round((count if done is None else done) / (ended - due), 1),
        *(round(quantile(late, share), 1) for share in (0.5, 0.99, 0.999, 1)),
        **{key: round(figure, 1) for key, figure in usage.items()},
    )


def lateness(name: str, late_s: Sequence[float]) -> Lateness:
    """Return the quantiles, in milliseconds, of seconds of lateness."""
    late = sorted(each * 1000 for each in late_s)
    return Lateness(
        name,
        len(late),
        round(quantile(late, 0.5), 2),
        round(quantile(late, 0.99), 2),
        round(late[-1], 2),
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value at that share of sorted values."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def median_figures(bursts: Sequence[BurstFigures]) -> BurstFigures:
    """Return the median of each figure."""
    medians: dict[str, Any] = {"name": bursts[0].name, "fires": bursts[0].fires}
    for key in list(asdict(bursts[0]))[2:]:
        values = [getattr(burst, key) for burst in bursts]
        medians[key] = None if None in values else round(statistics.median(values), 1)
    return BurstFigures(**medians)
