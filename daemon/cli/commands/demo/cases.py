"""The campaigns of the demo: one or two of each type, which all end within eleven seconds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from daemon.campaign_service import CampaignService
from daemon.domain.campaign.model import Campaign
from daemon.domain.campaign.state_machine import Status
from daemon.domain.requests import is_schedule_body
from daemon.domain.schedule.schedule import CampaignType

CONTINUOUS_INTERVAL = 2
"""Seconds between the runs of the continuous window, as the demo's daemon is configured."""
ACTOR = "demo"


@dataclass(frozen=True, slots=True)
class Case:
    """A campaign to create, with the runs and the status that it must reach.

    A campaign without a body is started as it is.
    """

    name: str
    type: CampaignType
    body: dict[str, Any] | None
    runs: int
    status: Status = Status.COMPLETED


def cases(now: datetime) -> list[Case]:
    """Return the campaigns to create at an instant: the last window closes 11 seconds later."""
    start = now.replace(microsecond=0) + timedelta(seconds=1)

    def at(seconds: float) -> str:
        return (start + timedelta(seconds=seconds)).astimezone(UTC).isoformat()

    kind = CampaignType
    daily = {"interval_unit": "day"}
    return [
        Case("once, now", kind.ONE_TIME, None, 1),
        Case(
            "once, scheduled",
            kind.ONE_TIME,
            {"schedule_type": "scheduled", "scheduled_at": at(3)},
            1,
        ),
        Case("once, by update", kind.ONE_TIME, {"startdate": at(4)}, 1),
        Case(
            "daily, until today",
            kind.RECURRING,
            {
                "schedule_type": "recurring",
                "scheduled_at": at(5),
                "recurring_config": {"frequency": "daily", "end_date": at(6)},
            },
            1,
        ),
        Case(
            "daily, by update",
            kind.RECURRING,
            {
                "startdate": at(6),
                "enddate": at(7),
                "repeating_schedule_attributes": daily,
            },
            1,
        ),
        Case(
            "segment, daily",
            kind.SEGMENT_TRIGGERED,
            {"startdate": at(4), "enddate": at(9)},
            1,
        ),
        Case(
            "segment, continuously",
            kind.SEGMENT_TRIGGERED,
            {"startdate": at(3), "enddate": at(10), "recurring_schedule": "continuously"},
            4,
        ),
        Case("event window", kind.EVENT_TRIGGERED, {"startdate": at(3), "enddate": at(8)}, 0),
        Case("live content window", kind.LIVE_CONTENT, {"startdate": at(4), "enddate": at(9)}, 0),
    ]


async def create(campaigns: CampaignService, case: Case) -> UUID:
    """Create a campaign, save its schedule and start it; return its uuid."""
    draft = Campaign(
        id=0,
        uuid=uuid4(),
        name=case.name,
        type=case.type,
        status=Status.DRAFT,
        payload={"demo": case.name},
    )
    uuid = (await campaigns.create(draft, ACTOR)).uuid
    if case.body is not None and is_schedule_body(case.body):
        await campaigns.save_schedule(uuid, case.body, ACTOR)
        return uuid
    if case.body is not None:
        await campaigns.update_schedule(uuid, case.body, ACTOR)
    await campaigns.start(uuid, ACTOR)
    return uuid
