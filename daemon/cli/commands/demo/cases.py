"""The campaigns of the demonstration: one or two of each type, all over within ten seconds."""

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
"""Seconds between the runs of the continuous window; a setting of the demonstration's daemon."""
ACTOR = "demo"


@dataclass(frozen=True, slots=True)
class Case:
    """A campaign to create and what must come of it; without a body it is started as it is."""

    name: str
    type: CampaignType
    body: dict[str, Any] | None
    runs: int
    status: Status = Status.COMPLETED


def cases(now: datetime) -> list[Case]:
    """What to create at an instant: the first fires 3 seconds later, the last closes by 11."""
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


async def create(control: CampaignService, case: Case) -> UUID:
    """Create a campaign, give it its schedule and arm it; its uuid."""
    draft = Campaign(
        id=0,
        uuid=uuid4(),
        name=case.name,
        type=case.type,
        status=Status.DRAFT,
        payload={"demo": case.name},
    )
    uuid = (await control.create(draft, ACTOR)).uuid
    if case.body is not None and is_schedule_body(case.body):
        await control.save_schedule(uuid, case.body, ACTOR)
        return uuid
    if case.body is not None:
        await control.update_schedule(uuid, case.body, ACTOR)
    await control.start(uuid, ACTOR)
    return uuid
