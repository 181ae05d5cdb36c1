"""Instants as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from daemon.domain.formatting import utc_text

WHOLE = datetime(2026, 1, 1, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "zone", [UTC, ZoneInfo("UTC"), ZoneInfo("Asia/Kathmandu"), timezone(timedelta(hours=-5))]
)
@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (WHOLE, "2026-01-01T00:30:00Z"),
        (WHOLE.replace(microsecond=6), "2026-01-01T00:30:00.000006Z"),
    ],
)
def test_an_instant_of_any_zone_is_converted_to_utc(
    zone: timezone, instant: datetime, text: str
) -> None:
    """The offset is never cut off."""
    assert utc_text(instant.astimezone(zone)) == text
