"""The response bodies in the OpenAPI document; `daemon.api.responses` builds them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from daemon.domain.api_keys import KeyStatus, Scope
from daemon.domain.campaign.state_machine import RunStatus, Status
from daemon.domain.run.target_state import CircuitState
from daemon.domain.schedule.schedule import CampaignType
from daemon.domain.schedule.send_window import Disposition

_INSTANT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{6})?Z$"
Instant = Field(json_schema_extra={"pattern": _INSTANT}, examples=["2031-07-01T09:00:00Z"])
Timezone: Any = Field(description="The zone in force: the schedule's, else the campaign's.")
Local: Any = Field(
    examples=["2031-07-01T11:00:00"], description="The time that clocks show in that zone."
)
Summary: Any = Field(
    None,
    description="The schedule in words; null without a schedule.",
    examples=["every second Monday at 09:00 in Paris, from 7 July 2031"],
)
DueAt: Any = Field(
    None,
    json_schema_extra={"pattern": _INSTANT},
    description="When the next run may start, where its send window makes that later.",
)
DstAffected: Any = Field(
    None,
    description="The next occurrences whose local time a clock change skips or repeats; absent if "
    "there are none within 366 days.",
)
Notes: Any = Field(
    default_factory=list,
    description="Effects that the client may not expect, such as intervals that count anew.",
)


class Problem(BaseModel):
    """An error."""

    model_config = ConfigDict(extra="forbid")
    message: str = Field(description="A fixed text for programs.")
    detail: str = Field(description="The particular error, for people.")
    errors: dict[str, list[str]] = Field(
        default_factory=dict,
        description="The errors of each invalid field; absent if no field is invalid.",
    )
    count: int | None = Field(
        None, description="The number to confirm; only of `Confirmation required`."
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
    next_run_at: str | None = Field(
        None, description="Instant of the next run; null when no run is armed."
    )
    created_at: str | None = Instant
    updated_at: str | None = Instant


class PauseItem(BaseModel):
    """The present pause of a campaign."""

    since: str | None = Instant
    by: str | None = Field(description="Who paused the campaign, or changed the pause last.")
    until: str | None = Field(
        description="Instant at which the campaign resumes by itself; null: it does not."
    )
    note: str | None


class CampaignResponse(CampaignItem):
    """A campaign with its payload."""

    payload: dict[str, Any]
    hint: str | None = Field(
        description="What to do next with a draft or a paused campaign; null for others."
    )
    paused: PauseItem | None = Field(description="Null unless the campaign is paused.")


class CampaignAfterEdit(CampaignResponse):
    """The campaign after the edit."""

    changed: list[str] = Field(description="The fields that have another value than before.")
    notes: list[str] = Notes


class CampaignCopied(CampaignResponse):
    """The copy, a draft."""

    notes: list[str] = Notes


class Page(BaseModel):
    """A page of a list."""

    next_cursor: str | None
    count: int = Field(description="Number of items of all pages; with `more`, at least so many.")
    more: bool = Field(description="Whether there are more items than `count`.")


class CampaignPage(Page):
    """A page of campaigns, newest first."""

    items: list[CampaignItem]


class CampaignFacets(BaseModel):
    """The number of campaigns by the values of each field."""

    status: dict[str, int]
    type: dict[str, int]
    target: dict[str, int]
    timezone: dict[str, int]


class ScheduleResponse(BaseModel):
    """The current schedule: the fields of its body as it was sent, and computed fields."""

    model_config = ConfigDict(extra="allow")
    campaign_id: int
    campaign_uuid: str
    status: Status
    source: Literal["schedule", "update_schedule"] | None = Field(
        description="The form of the body: schedule or update_schedule; null without a schedule."
    )
    timezone: str = Timezone
    next_run_at: str | None = Instant
    next_run_local: str | None = Local
    due_at: str | None = DueAt
    rrule: str | None = Field(
        description="The recurrence in RFC 5545 form; null if that form cannot express it."
    )
    summary: str | None = Summary
    revision: int | None = Field(description="Revision of the schedule, as in the ETag.")
    saved_at: str | None = Instant


class ClockChangeEffect(BaseModel):
    """An occurrence whose local time a clock change skips (gap) or repeats (fold)."""

    local: str
    kind: Literal["gap", "fold"]
    policy: str = Field(description="The word of the schedule's `dst` for that kind.")
    at: list[str] = Field(description="The instants of its runs.")


class ScheduleSaved(BaseModel):
    """The schedule was saved or cleared."""

    success: Literal[True]
    message: Literal["Schedule saved", "Schedule cleared"]
    campaign_id: int
    campaign_uuid: str
    status: Status
    timezone: str = Timezone
    next_run_at: str | None = Instant
    next_run_local: str | None = Local
    due_at: str | None = DueAt
    dst_affected: list[ClockChangeEffect] | None = DstAffected
    notes: list[str] = Notes


class ScheduleUpdated(BaseModel):
    """The schedule was updated. With `Prefer: return=representation`, as a saved schedule."""

    model_config = ConfigDict(extra="allow")
    success: Literal[True]


class ComparedOccurrence(BaseModel):
    """An occurrence that appears or vanishes."""

    scheduled_for: str = Instant
    due_at: str = Instant
    outcome: str = Field(description="send, next_window, hold or skip.")
    why: str | None = Field(description="The reason for another outcome than send.")
    local: str = Local


class ComparedMove(BaseModel):
    """An occurrence that has another instant on the same local date."""

    was: str = Instant
    now: str = Instant


class ComparedChange(BaseModel):
    """An occurrence that is due later or earlier, or has another outcome."""

    was: ComparedOccurrence
    now: ComparedOccurrence


class ComparisonSummary(BaseModel):
    """The number of occurrences in each part of a comparison."""

    same: int
    changes: int
    moves: int
    appears: int
    vanishes: int


class DryRunResponse(BaseModel):
    """What the request would change; nothing was written. Each list has at most 100 items."""

    success: Literal[True]
    dry_run: Literal[True]
    status: Status
    armed: bool = Field(description="Whether occurrences run before and after the change.")
    since: str = Field(alias="from", description="The comparison's begin, excluded.")
    to: str = Instant
    summary: ComparisonSummary
    changes: list[ComparedChange]
    moves: list[ComparedMove]
    appears: list[ComparedOccurrence]
    vanishes: list[ComparedOccurrence]
    truncated: bool = Field(description="Whether a side has more than 10,000 occurrences.")


class ScheduleSavedOrCompared(RootModel[ScheduleSaved | DryRunResponse]):
    """The schedule was saved or cleared; or, with `dry_run`, what that would change."""


class ScheduleUpdatedOrCompared(RootModel[ScheduleUpdated | DryRunResponse]):
    """The schedule was updated; or, with `dry_run`, what that would change."""


class CommandDone(BaseModel):
    """The command was carried out."""

    success: Literal[True]
    message: str
    campaign_id: int
    campaign_uuid: str
    status: Status
    changed: bool = Field(description="False when the campaign already had the requested status.")
    run_id: str | None = Field(description="The run that the command has made, if it has.")
    timezone: str = Timezone
    next_run_at: str | None = Instant
    next_run_local: str | None = Local
    due_at: str | None = DueAt


class CommandDoneOrCompared(RootModel[CommandDone | DryRunResponse]):
    """The command was carried out; or, with `dry_run`, what that would change."""


class CampaignDeleted(BaseModel):
    """The campaign was deleted."""

    success: Literal[True]
    message: Literal["Campaign deleted"]


class PreviewedRun(BaseModel):
    """What becomes of an occurrence."""

    scheduled_for: str = Instant
    due_at: str = Instant
    outcome: Disposition
    why: str | None
    local: str = Field(description="The time that clocks show in the schedule's zone.")
    run_id: str | None = None


class SchedulePreview(BaseModel):
    """The occurrences of a schedule that is not saved."""

    occurrences: list[str]
    runs: list[PreviewedRun] | None = Field(
        None,
        description="What becomes of each occurrence; absent for a schedule without send_window, "
        "late and dst.",
    )
    dst_affected: list[ClockChangeEffect] | None = DstAffected
    launch_at: str | None = Field(
        None, description="Instant at which the window opens, for window types."
    )
    complete_at: str | None = Field(
        None, description="Instant at which the window closes, for window types."
    )
    summary: str | None = Summary
    notes: list[str] = Notes


class RunItem(BaseModel):
    """A run: one occurrence that is or was carried out."""

    id: str = Field(json_schema_extra={"format": "uuid"})
    campaign_id: int
    campaign_uuid: str
    campaign_name: str
    target: str
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


class RunPage(Page):
    """A page of runs, newest first."""

    items: list[RunItem]


class EventItem(BaseModel):
    """An event in the history of a campaign."""

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


class EventPage(Page):
    """A page of events, newest first."""

    items: list[EventItem]


class UpcomingItem(BaseModel):
    """The armed event of a campaign."""

    campaign_id: int
    campaign_uuid: str
    campaign_name: str
    type: CampaignType
    status: Status
    event: Literal["open", "fire", "close"]
    at: str = Instant
    local: str = Field(description="Wall-clock time in the time zone.")
    timezone: str
    frozen: bool = Field(description="Whether a freeze keeps it from running.")


class UpcomingPage(Page):
    """A page of armed events, soonest first."""

    items: list[UpcomingItem]


class RunUpdate(BaseModel):
    """The state of the run after the request."""

    success: Literal[True]
    run_id: str
    campaign_id: int
    status: RunStatus
    attempt: int
    changed: bool = Field(
        description="False when the same result was reported before, or the run has no lease."
    )
    lease_until: str | None = Field(
        description="Instant until which no other node takes the run over; null without a lease."
    )
    next_attempt_at: str | None = Instant


class RunDecided(BaseModel):
    """The held run after the decision."""

    success: Literal[True]
    run_id: str
    campaign_id: int
    status: RunStatus
    due_at: str | None = Field(description="Instant of the next attempt; null without one.")


class RunsDecided(BaseModel):
    """The decision was carried out."""

    success: Literal[True]
    count: int = Field(description="The number of runs.")


class RunRetried(BaseModel):
    """The next attempt of the run is due now."""

    success: Literal[True]
    message: Literal["Run retried"]
    run_id: str
    campaign_id: int
    campaign_status: Status


class OccurrenceItem(BaseModel):
    """A run, or an occurrence to come."""

    event: Literal["open", "fire", "close"]
    at: str = Instant
    local: str | None = Field(description="The time that clocks show in the zone of the list.")
    campaign_id: int
    campaign_uuid: str
    campaign_name: str
    target: str
    campaign_status: Status | None = Field(
        description="Of an occurrence to come: one of a paused campaign will be missed."
    )
    run_id: str | None
    run_status: RunStatus | None = Field(description="Of a run; null for what is to come.")
    lateness_ms: float | None


class OccurrencePage(BaseModel):
    """The occurrences of a stretch of time, earliest first."""

    items: list[OccurrenceItem]
    from_: str = Field(alias="from")
    before: str
    timezone: str
    count: int = Field(description="Number of items in this response.")
    truncated: bool = Field(description="Whether the stretch has more occurrences.")


class ExplainedEvent(BaseModel):
    """An event of the occurrence in question."""

    at: str = Instant
    event: str
    cause: str | None
    actor: str


class ExplainedOccurrence(BaseModel):
    """What became of an occurrence, and why."""

    at: str = Instant
    why: str = Field(description="The reason as a sentence.")
    run_id: str | None
    run_status: RunStatus | None
    lateness_ms: float | None
    error: str | None
    events: list[ExplainedEvent]


class NextEvent(BaseModel):
    """An event to come."""

    event: Literal["open", "fire", "close"]
    at: str = Instant
    local: str


class ExplanationResponse(BaseModel):
    """Why a campaign ran, or did not, and what comes next."""

    campaign_id: int
    campaign_uuid: str
    name: str
    status: Status
    timezone: str = Timezone
    hint: str | None = Field(description="What to do next with a draft or a paused campaign.")
    explained: list[ExplainedOccurrence]
    armed: bool = Field(description="Whether the next event comes by itself.")
    next: list[NextEvent]


class BadLineItem(BaseModel):
    """A line that was not loaded."""

    line: int = Field(description="Number of the line, from 1.")
    reason: str


class ImportResponse(BaseModel):
    """The result of an import."""

    success: bool = Field(description="Whether no line was bad.")
    loaded: int
    unchanged: int
    updated: int
    bad: int
    bad_lines: list[BadLineItem] = Field(description="The first 100 bad lines.")


class ClusterStatus(BaseModel):
    """The state of the cluster."""

    now: str = Instant
    nodes_live: int
    nodes_draining: int
    nodes_lost: int = Field(description="Nodes whose runs are not taken over yet.")
    overdue: int = Field(description="Due events that no node has claimed.")
    lag_s: float = Field(description="Seconds that the oldest of them has been waiting.")
    backlog: int = Field(description="Due events that wait for their campaign's open run.")
    next_event_at: str | None = Instant
    executing: int
    queued: int
    retrying: int
    held: int = Field(description="Runs that need an operator.")
    failed_24h: int
    missed_24h: int
    server_version: str
    schema_version: str | None


class NodeItem(BaseModel):
    """A node as of its last heartbeat; ages are in seconds, by the database's clock."""

    id: str
    name: str
    host: str
    pid: int
    version: str
    tzdata: str
    live: bool
    draining: bool
    started_at: str = Instant
    heartbeat_age: float
    lease_left: float
    skew_ms: int
    shards: int
    schema_version: str


class NodePage(Page):
    """All nodes, by name."""

    items: list[NodeItem]


class TargetNodeItem(BaseModel):
    """A target as one node sees it."""

    node: str
    circuit: CircuitState
    paused_until: str | None = Instant
    error: str | None = Field(description="Why the circuit opened; null while it is closed.")
    queue: int = Field(description="Events that are due and not claimed.")
    in_flight: int = Field(description="Runs claimed whose outcome is not written.")


class TargetHour(BaseModel):
    """The runs of a target in the last hour; `more` if only the newest were counted."""

    completed: int
    failed: int
    success_rate: float | None
    mean_ms: float | None = Field(description="From the first attempt to the completion.")
    slowest_ms: float | None
    more: bool


class TargetItem(BaseModel):
    """A target: its worst circuit, and its queues on all nodes together."""

    name: str
    circuit: CircuitState
    paused_until: str | None = Instant
    error: str | None
    queue: int
    in_flight: int
    last_hour: TargetHour
    nodes: list[TargetNodeItem]


class TargetPage(Page):
    """All configured targets, by name."""

    items: list[TargetItem]


class TargetTestResponse(BaseModel):
    """The result of a test message."""

    success: bool
    target: str
    outcome: str
    detail: str | None = Field(description="The reason why it was not delivered.")
    run_id: str = Field(description="The id that the message has as its run.")
    duration_ms: float


class TargetResumed(BaseModel):
    """Every node closes its circuit of the target."""

    success: Literal[True]
    message: Literal["Target resumed"]
    target: str


class FreezeItem(BaseModel):
    """A freeze in force."""

    scope: str = Field(description="* for all targets, or target:NAME.")
    frozen_at: str = Instant
    by: str
    note: str | None
    until: str | None = Field(description="Instant at which it ends by itself.")
    waiting: int = Field(description="Occurrences that are due and wait for its end.")


class FreezeList(BaseModel):
    """The freezes in force."""

    items: list[FreezeItem]


class NodeApplied(BaseModel):
    """Whether a live node obeys the change."""

    node: str
    applied: bool
    heartbeat_at: str = Instant


class Applied(BaseModel):
    """The live nodes that obey the change."""

    all: bool
    waited_ms: int
    nodes: list[NodeApplied]


class FreezeDone(BaseModel):
    """The freeze is in force."""

    success: Literal[True]
    scope: str
    frozen_at: str = Instant
    until: str | None
    changed: bool = Field(description="False if it was in force already.")
    applied: Applied


class ThawDone(BaseModel):
    """The freeze has ended."""

    success: Literal[True]
    scope: str
    held: int = Field(description="Occurrences that are held for a person.")
    skipped: int = Field(description="Occurrences that are missed.")
    left_to_policy: int = Field(description="Occurrences that go by their schedule's grace.")


class KeyItem(BaseModel):
    """An API key, without its secret."""

    id: int
    name: str
    scope: Scope
    status: KeyStatus = Field(
        description="Requests with the key are accepted while it is in_force or expiring; it is "
        "expiring in its last 7 days."
    )
    created_at: str = Instant
    expires_at: str | None = Instant
    last_used_at: str | None = Instant
    last_used_from: str | None = Field(description="Address of the client at the last use.")
    previous_until: str | None = Field(
        description="Instant until which the secret before the last rotation works too."
    )
    revoked_at: str | None = Instant


class KeyCreated(KeyItem):
    """An API key with a new secret."""

    key: str = Field(description="The secret, which no other response contains.")


class KeyPage(Page):
    """All keys, oldest first."""

    items: list[KeyItem]


class AuditItem(BaseModel):
    """A row of the audit log."""

    id: int
    at: str = Instant
    actor: str = Field(description="api:KEY, web:KEY, cli:USER or node:NAME.")
    command: str | None = Field(description="The command, where a command made the change.")
    address: str | None = Field(description="The client's address, of a request.")
    action: str
    object: str | None = Field(description="The type of what was changed, such as campaign.")
    object_id: str | None
    object_name: str | None
    outcome: str = Field(description="done, refused or failed.")
    request_id: str | None
    note: str | None


class AuditPage(Page):
    """A page of the audit log, newest first."""

    items: list[AuditItem]


class AuditFindingItem(BaseModel):
    """A finding of the auditor that stands; docs/audit.md explains the kinds."""

    id: int
    kind: str = Field(description="missing, extra, wrong_timer, ...")
    severity: str = Field(description="error or notice.")
    campaign_id: int
    campaign_name: str | None = Field(description="Null after the campaign was deleted.")
    run_id: str | None = Field(description="The run, if it concerns one.")
    scheduled_for: str | None = Field(description="The instant that it concerns.")
    details: dict[str, Any] | None
    found_at: str = Instant
    seen_at: str = Instant
    remedy: str = Field(description="What an operator can do.")


class AuditFindingPage(BaseModel):
    """A page of findings, oldest first."""

    items: list[AuditFindingItem]
    next_cursor: str | None


class Health(BaseModel):
    """The result of a health check."""

    status: Literal["ok", "unavailable"]
    checks: dict[str, str] = Field(default_factory=dict)
    frozen: str | None = Field(
        None, description="What is frozen: all, or the names of targets; absent if nothing is."
    )
