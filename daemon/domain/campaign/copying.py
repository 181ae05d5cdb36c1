"""The copy of a campaign: a draft with the same content and schedule."""

from __future__ import annotations

from typing import NamedTuple
from uuid import uuid4

from daemon.domain.campaign.commands import is_more_to_come
from daemon.domain.campaign.create_request import MESSAGE, NAME
from daemon.domain.campaign.model import NAME_LIMIT, Campaign, Snapshot
from daemon.domain.campaign.state_machine import Status
from daemon.domain.requests import ParsedSchedule
from daemon.domain.requests.declaration import Body, declare_field

OVER = "The schedule is over, so it was not copied; save one before you start the copy."


class CopyRequest(NamedTuple):
    """The copy to make."""

    name: str | None = declare_field(NAME, doc="Default: `Copy of`, and the name.")


COPY_REQUEST = Body(CopyRequest)


class CampaignCopy(NamedTuple):
    """A draft to create, with the schedule that a start will arm."""

    campaign: Campaign
    schedule: ParsedSchedule | None
    notes: tuple[str, ...] = ()


def read_copy_name(body: object) -> str | None:
    """Return the name that a request gives the copy. Raises InvalidInput (400)."""
    return COPY_REQUEST.read_whole_body(body, MESSAGE).name


def copy_of(snapshot: Snapshot, name: str | None = None) -> CampaignCopy:
    """Return the copy of a campaign; a schedule with nothing to come is left out."""
    campaign, current = snapshot.campaign, snapshot.current
    draft = Campaign(
        id=0,
        uuid=uuid4(),
        name=name or f"Copy of {campaign.name}"[:NAME_LIMIT],
        type=campaign.type,
        status=Status.DRAFT,
        timezone=campaign.timezone,
        target=campaign.target,
        payload=campaign.payload,
    )
    if current is None:
        return CampaignCopy(draft, None)
    schedule = current.schedule
    if not is_more_to_come(schedule, schedule.event_after(snapshot.now), snapshot):
        return CampaignCopy(draft, None, (OVER,))
    return CampaignCopy(
        draft, ParsedSchedule(schedule, campaign.type, current.source, current.body)
    )
