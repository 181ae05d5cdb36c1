"""Attempts to deliver, made up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from daemon.domain.campaign.model import run_id
from daemon.domain.run.attempt import Attempt

CAMPAIGN = UUID("0f8fad5b-d9cb-469f-a165-70867728950e")
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def work(second: int = 0, **changes: Any) -> Attempt:
    """Return an attempt of the campaign's run that is due ``second`` seconds after noon."""
    at = NOON + timedelta(seconds=second)
    made = Attempt(
        campaign_id=7,
        campaign_uuid=CAMPAIGN,
        campaign_name="Sommer 🌞",
        run_id=run_id(CAMPAIGN, at),
        scheduled_for=at,
        number=1,
        target="crm",
        payload={"segment": 12, "text": "Grüße"},
        claimed_at=at,
        start_before=datetime(2100, 1, 1, tzinfo=UTC),
    )
    return made._replace(**changes)


class Told:
    """An Emit that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, event: str, /, **fields: Any) -> None:
        self.events.append((event, fields))

    def names(self) -> list[str]:
        return [name for name, _ in self.events]
