"""What answers look like, for the specification; `daemon.api.responses` makes them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from daemon.domain.campaign.state_machine import RunStatus, Status
from daemon.domain.schedule.schedule import CampaignType

_INSTANT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{6})?Z$"
Instant = Field(json_schema_extra={"pattern": _INSTANT}, examples=["2031-07-01T09:00:00Z"])


class Problem(BaseModel):
    """Every error."""

    model_config = ConfigDict(extra="forbid")
    message: str = Field(description="A fixed text, for programs.")
    detail: str = Field(description="What exactly, for people.")
    errors: dict[str, list[str]] = Field(
        default_factory=dict, description="What is wrong with which field, where fields are."
    )


class CampaignItem(BaseModel):
    """A campaign in a list."""

    id: int
    uuid: str = Field(json_schema_extra={"format": "uuid"})
    name: str
    type: CampaignType
    status: Status
    timezone: str
    target: str
    next_run_at: str | None = Field(None, description="When it runs next, if a run is armed.")
    created_at: str | None = Instant
    updated_at: str | None = Instant


class CampaignAnswer(CampaignItem):
    """A campaign in full."""

    payload: dict[str, Any]


class CampaignPage(BaseModel):
    """A page of campaigns, newest first."""

    items: list[CampaignItem]
    next_cursor: str | None


class ScheduleAnswer(BaseModel):
    """The current schedule: the body as it was given, and what it comes to."""

    model_config = ConfigDict(extra="allow")
    campaign_id: int
    campaign_uuid: str
    status: Status
    source: Literal["schedule", "update_schedule"] | None = Field(
        description="Which of the two bodies the fields are of; null without a schedule."
    )
    next_run_at: str | None = Instant
    rrule: str | None = Field(description="As RFC 5545 text, where that can say it.")
    revision: int | None = Field(description="What the ETag says.")
    saved_at: str | None = Instant


class SavedAnswer(BaseModel):
    """The schedule is saved."""

    success: Literal[True]
    message: Literal["Schedule saved", "Schedule cleared"]
    campaign_id: int
    campaign_uuid: str
    status: Status
    next_run_at: str | None = Instant


class UpdatedAnswer(BaseModel):
    """The schedule is updated."""

    success: Literal[True]


class ActedAnswer(BaseModel):
    """What was asked for is done."""

    success: Literal[True]
    message: str
    campaign_id: int
    campaign_uuid: str
    status: Status
    changed: bool = Field(description="False: it was so already.")
    next_run_at: str | None = Instant


class DeletedAnswer(BaseModel):
    """The campaign is gone."""

    success: Literal[True]
    message: Literal["Campaign deleted"]


class PreviewAnswer(BaseModel):
    """When a body's campaign would run."""

    occurrences: list[str]
    launch_at: str | None = Field(None, description="Of a window type: when it opens.")
    complete_at: str | None = Field(None, description="Of a window type: when it closes.")


class RunItem(BaseModel):
    """One occurrence being carried out."""

    id: str = Field(json_schema_extra={"format": "uuid"})
    campaign_id: int
    campaign_uuid: str
    campaign_name: str
    scheduled_for: str = Instant
    status: RunStatus
    cause: Literal["schedule", "start", "rerun"]
    attempt: int
    takeovers: int
    node: str | None
    claimed_at: str = Instant
    started_at: str | None = Instant
    next_attempt_at: str | None = Instant
    finished_at: str | None = Instant
    lateness_ms: float | None
    error: str | None


class RunPage(BaseModel):
    """A page of runs, newest first."""

    items: list[RunItem]
    next_cursor: str | None


class EventItem(BaseModel):
    """Something that happened to a campaign."""

    id: int
    campaign_id: int
    at: str = Instant
    event: str
    from_status: str | None
    to_status: str | None
    cause: str | None
    actor: str
    run_id: str | None
    scheduled_for: str | None
    details: dict[str, Any] | None


class EventPage(BaseModel):
    """A page of events, newest first."""

    items: list[EventItem]
    next_cursor: str | None


class UpcomingItem(BaseModel):
    """The next event of a campaign."""

    campaign_id: int
    campaign_uuid: str
    campaign_name: str
    type: CampaignType
    status: Status
    event: Literal["open", "fire", "close"]
    at: str = Instant
    local: str = Field(description="Wall-clock time in timezone.")
    timezone: str


class UpcomingPage(BaseModel):
    """A page of what comes next, soonest first."""

    items: list[UpcomingItem]
    next_cursor: str | None


class RunAnswered(BaseModel):
    """What became of the run."""

    success: Literal[True]
    run_id: str
    campaign_id: int
    status: RunStatus
    attempt: int
    changed: bool = Field(description="False: the same was answered before.")
    lease_until: str | None = Field(description="Until when nobody takes the run over.")
    next_attempt_at: str | None = Instant


class KeyItem(BaseModel):
    """An API key, without its secret."""

    id: int
    name: str
    scope: Literal["read", "write", "admin"]
    created_at: str = Instant
    last_used_at: str | None = Instant
    revoked_at: str | None = Instant


class KeyCreated(KeyItem):
    """A new API key."""

    key: str = Field(description="The secret. It is shown this once.")


class KeyPage(BaseModel):
    """Every key, oldest first."""

    items: list[KeyItem]
    next_cursor: str | None


class HealthAnswer(BaseModel):
    """Whether the process lives, or can work."""

    status: Literal["ok", "unavailable"]
    checks: dict[str, str] = Field(default_factory=dict)
