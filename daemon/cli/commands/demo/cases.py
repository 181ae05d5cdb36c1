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
class DemoCampaign:
    """A campaign to create, with the runs and the status that it must reach.

    A campaign without a body is started as it is.
    """

    name: str
    type: CampaignType
    body: dict[str, Any] | None
    runs: int
    status: Status = Status.COMPLETED


def demo_campaigns(now: datetime) -> list[DemoCampaign]:
    """Return the campaigns to create at an instant: the last window closes 11 seconds later."""
    start = now.replace(microsecond=0) + timedelta(seconds=1)

    def text_of_instant(seconds: float) -> str:
        return (start + timedelta(seconds=seconds)).astimezone(UTC).isoformat()

    kind = CampaignType
    daily = {"interval_unit": "day"}
    return [
        DemoCampaign("once, now", kind.ONE_TIME, None, 1),
        DemoCampaign(
            "once, scheduled",
            kind.ONE_TIME,
            {"schedule_type": "scheduled", "scheduled_at": text_of_instant(3)},
            1,
        ),
        DemoCampaign("once, by update", kind.ONE_TIME, {"startdate": text_of_instant(4)}, 1),
        DemoCampaign(
            "daily, until today",
            kind.RECURRING,
            {
                "schedule_type": "recurring",
                "scheduled_at": text_of_instant(5),
                "recurring_config": {"frequency": "daily", "end_date": text_of_instant(6)},
            },
            1,
        ),
        DemoCampaign(
            "daily, by update",
            kind.RECURRING,
            {
                "startdate": text_of_instant(6),
                "enddate": text_of_instant(7),
                "repeating_schedule_attributes": daily,
            },
            1,
        ),
        DemoCampaign(
            "segment, daily",
            kind.SEGMENT_TRIGGERED,
            {"startdate": text_of_instant(4), "enddate": text_of_instant(9)},
            1,
        ),
        DemoCampaign(
            "segment, continuously",
            kind.SEGMENT_TRIGGERED,
            {
                "startdate": text_of_instant(3),
                "enddate": text_of_instant(10),
                "recurring_schedule": "continuously",
            },
            4,
        ),
        DemoCampaign(
            "event window",
            kind.EVENT_TRIGGERED,
            {"startdate": text_of_instant(3), "enddate": text_of_instant(8)},
            0,
        ),
        DemoCampaign(
            "live content window",
            kind.LIVE_CONTENT,
            {"startdate": text_of_instant(4), "enddate": text_of_instant(9)},
            0,
        ),
    ]


async def create_campaign(campaigns: CampaignService, case: DemoCampaign) -> UUID:
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
