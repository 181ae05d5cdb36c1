"""The API's dependencies: Protocols of the stores, and the values that hold them.

`daemon.api_wiring` builds the implementations.
"""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Sequence,
)
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from daemon.campaign_service import CampaignService
from daemon.domain.api_keys import ApiKey, Scope
from daemon.domain.audit import Action, AuditEntry, AuditRecord
from daemon.domain.auditor.finding import RecordedFinding
from daemon.domain.brakes import Brake, Brakes, Freeze, Overdue, Thaw
from daemon.domain.campaign.explain import Evidence
from daemon.domain.campaign.model import LoggedEvent
from daemon.domain.campaign.state_machine import RunStatus, Status
from daemon.domain.explanation import Explanation
from daemon.domain.listing import (
    WHENEVER,
    CampaignFilter,
    Counted,
    EventFilter,
    Facets,
    RunFilter,
    RunsFound,
    TimeRange,
)
from daemon.domain.occurrences import ScheduledCampaign
from daemon.domain.read_models import (
    CampaignDetail,
    CampaignSummary,
    Overview,
    Ref,
    RunDetail,
    RunKey,
    RunsOfPeriod,
    UpcomingEvent,
    UpcomingKey,
)
from daemon.domain.receipts import Receipt
from daemon.domain.run.target_state import TargetState
from daemon.domain.schedule.schedule import CampaignType


class CampaignReader(Protocol):
    """The reads of campaigns, runs and events. Lists are paged by the last item's key."""

    async def campaigns(
        self,
        *,
        limit: int,
        before: int | None = None,
        status: Status | None = None,
        type: CampaignType | None = None,
    ) -> Sequence[CampaignSummary]:
        """Return campaigns, newest first."""
        ...

    async def campaign(self, ref: Ref, *, with_calendars: bool = False) -> CampaignDetail:
        """Return one campaign. Raises NotFound."""
        ...

    async def runs(
        self,
        *,
        limit: int,
        ref: Ref | None = None,
        status: RunStatus | None = None,
        before: RunKey | None = None,
    ) -> Sequence[RunDetail]:
        """Return runs, newest first."""
        ...

    async def campaign_id_of(self, ref: Ref) -> int:
        """Return the id of a campaign. Raises NotFound."""
        ...

    async def runs_of(
        self,
        campaign_id: int,
        *,
        limit: int,
        status: RunStatus | None = None,
        stretch: TimeRange = WHENEVER,
        before: RunKey | None = None,
    ) -> Sequence[RunDetail]:
        """Return the runs of a campaign by scheduled instant, newest first."""
        ...

    async def count_runs_of(
        self, campaign_id: int, *, status: RunStatus | None = None, stretch: TimeRange = WHENEVER
    ) -> Counted:
        """Count the runs of a campaign."""
        ...

    async def count_events_of(self, campaign_id: int) -> Counted:
        """Count the events of a campaign."""
        ...

    async def run(self, run_id: UUID) -> RunDetail:
        """Return one run. Raises NotFound."""
        ...

    async def events(
        self, ref: Ref, *, limit: int, before: int | None = None
    ) -> Sequence[LoggedEvent]:
        """Return the events of a campaign, newest first."""
        ...

    async def upcoming(
        self, *, limit: int, after: UpcomingKey | None = None
    ) -> Sequence[UpcomingEvent]:
        """Return the armed events, soonest first."""
        ...


class CampaignSearcher(Protocol):
    """The searches of campaigns, and of runs of all campaigns."""

    async def campaigns(
        self, wanted: CampaignFilter, *, limit: int, before: int | None = None
    ) -> Sequence[CampaignSummary]:
        """Return campaigns, newest first."""
        ...

    async def count_campaigns(self, wanted: CampaignFilter) -> Counted:
        """Count the campaigns of a list."""
        ...

    async def facets(self, wanted: CampaignFilter) -> Facets:
        """Count the campaigns of a list by the values of its fields."""
        ...

    async def upcoming(
        self, wanted: CampaignFilter, *, limit: int, after: UpcomingKey | None = None
    ) -> Sequence[UpcomingEvent]:
        """Return armed events, soonest first."""
        ...

    async def count_upcoming(self, wanted: CampaignFilter) -> Counted:
        """Count the events of a list."""
        ...

    async def runs(
        self, wanted: RunFilter, *, limit: int, before: RunKey | None = None
    ) -> RunsFound:
        """Return runs of all campaigns, newest first by claim."""
        ...

    async def count_runs(self, wanted: RunFilter) -> Counted:
        """Count the runs of a list."""
        ...


class CalendarReader(Protocol):
    """The reads of the console's calendar."""

    async def version(self) -> tuple[str, int]:
        """Return a value that changes with every change of a schedule by a command."""
        ...

    async def names(self, ids: Sequence[int]) -> dict[int, tuple[str, Status]]:
        """Return the present names and statuses of campaigns."""
        ...

    async def runs_of_periods(
        self, bounds: Sequence[datetime], keep: int, campaign_ids: Sequence[int] | None = None
    ) -> Sequence[RunsOfPeriod]:
        """Return the runs of each period between two bounds, and list `keep` of each."""
        ...


class ScheduleReader(Protocol):
    """The reads of all schedules, and of runs by their scheduled instants."""

    async def runs_between(
        self, wanted: CampaignFilter, since: datetime, before: datetime, limit: int
    ) -> Sequence[RunDetail]:
        """Return runs, earliest first."""
        ...

    async def schedules_until(
        self, wanted: CampaignFilter, before: datetime, limit: int
    ) -> Sequence[ScheduledCampaign]:
        """Return the armed schedules whose next event is before an instant, soonest first."""
        ...

    async def draft_schedules(
        self, wanted: CampaignFilter, now: datetime, limit: int
    ) -> Sequence[ScheduledCampaign]:
        """Return the schedules of drafts, newest first."""
        ...


class TargetStore(Protocol):
    """The states of targets."""

    async def states(self, names: Collection[str]) -> Sequence[TargetState]:
        """Return the states of targets, in the order of their names."""
        ...

    async def resume(self, name: str, actor: str) -> None:
        """Tell every node to close its circuit of a target."""
        ...


class TargetTestResult(Protocol):
    """The result of a test message."""

    @property
    def run_id(self) -> UUID:
        """The id that the message has as its run."""
        ...

    @property
    def delivered(self) -> bool:
        """Whether the target took it."""
        ...

    @property
    def outcome(self) -> str:
        """The outcome's name."""
        ...

    @property
    def detail(self) -> str | None:
        """The reason why it was not delivered."""
        ...

    @property
    def seconds(self) -> float:
        """How long the target took."""
        ...


class EventReader(Protocol):
    """The reads of the events of all campaigns."""

    async def events(
        self, wanted: EventFilter, *, limit: int, before: int | None = None
    ) -> Sequence[LoggedEvent]:
        """Return events, newest first."""
        ...

    async def count_events(self, wanted: EventFilter) -> Counted:
        """Count the events of a list."""
        ...


class ApiKeyStore(Protocol):
    """The store of API keys."""

    async def find(self, secret: str) -> ApiKey | None:
        """Return the key with this secret; None unless such a key is in force."""
        ...

    async def record_use(self, key_id: int, address: str) -> None:
        """Record the current time and the client's address as the key's last use."""
        ...

    async def create(
        self, name: str, scope: Scope, expires: datetime | None = None
    ) -> tuple[ApiKey, str]:
        """Create a key; return the key and its secret. Raises Conflict, InvalidInput."""
        ...

    async def list(self) -> Sequence[ApiKey]:
        """Return every key, also the revoked and the expired ones."""
        ...

    async def rotate(
        self, key: int, overlap: timedelta, expires: datetime | None = None
    ) -> tuple[ApiKey, str]:
        """Give a key a new secret; return both. Raises InvalidInput, NotFound."""
        ...

    async def revoke(self, key: int) -> ApiKey:
        """Revoke a key. Raises NotFound."""
        ...


class SessionStore(Protocol):
    """The store of the page's sessions."""

    async def start(self, key: ApiKey, secret: str, address: str) -> str:
        """Start a session of a key; return the token of the browser."""
        ...

    async def open_link(self, token: str, address: str) -> tuple[ApiKey, str] | None:
        """Use a link up and start a session; return its key and the browser's token."""
        ...

    async def find(self, token: str) -> ApiKey | None:
        """Return the session's key and record the use; None if the session has ended."""
        ...

    async def end(self, token: str) -> None:
        """End a session."""
        ...


class AuditStore(Protocol):
    """The store of the audit log."""

    async def record(self, entry: AuditEntry) -> None:
        """Add a row that belongs to no change of the database."""
        ...

    async def page(
        self,
        *,
        limit: int,
        before: int | None = None,
        actor: str | None = None,
        action: Action | None = None,
        object_id: str | None = None,
        since: datetime | None = None,
    ) -> Sequence[AuditRecord]:
        """Return rows, newest first."""
        ...

    async def count(
        self,
        *,
        actor: str | None = None,
        action: Action | None = None,
        object_id: str | None = None,
        since: datetime | None = None,
    ) -> Counted:
        """Count the rows of all pages."""
        ...


class BrakeControl(Protocol):
    """The freezes of the database."""

    async def read(self) -> Brakes:
        """Return all brakes."""
        ...

    async def count_waiting(self, brake: Brake) -> int:
        """Count the occurrences of a scope that are due."""
        ...

    async def freeze(
        self,
        target: str | None,
        actor: str,
        *,
        until: datetime | None = None,
        note: str | None = None,
    ) -> Freeze:
        """Let nothing begin any more, of one target or at all."""
        ...

    async def wait_until_obeyed(self, freeze: Freeze, seconds: float) -> Receipt:
        """Wait until every live node obeys a freeze, at most for some seconds."""
        ...

    async def thaw(
        self,
        target: str | None,
        actor: str,
        *,
        overdue: Overdue = Overdue.HOLD,
        confirm: int | None = None,
        note: str | None = None,
    ) -> Thaw:
        """End a freeze. Raises Conflict, ConfirmationRequired."""
        ...


class IdempotentRequest(Protocol):
    """A request with an Idempotency-Key, inside its transaction."""

    @property
    def response(self) -> dict[str, Any] | None:
        """The stored response; None when this is the first request with the key."""
        ...

    @property
    def service(self) -> CampaignService:
        """The service whose changes belong to this transaction."""
        ...

    async def store(self, response: dict[str, Any]) -> None:
        """Store the response for repeated requests."""
        ...


class IdempotencyStore(Protocol):
    """The store of responses, by API key and Idempotency-Key."""

    def reserve(
        self, api_key_id: int, key: str, fingerprint: bytes
    ) -> AbstractAsyncContextManager[IdempotentRequest]:
        """Open the transaction of one request. Raises Conflict, InvalidInput (422)."""
        ...


class FindingReader(Protocol):
    """Reads the findings of the auditor."""

    async def open_findings(self, *, limit: int, after: int = 0) -> Sequence[RecordedFinding]:
        """Return the findings that stand, oldest first, whose id is above ``after``."""
        ...


@dataclass(frozen=True, slots=True)
class Backend:
    """The dependencies of the request handlers, built and closed in the API's own event loop."""

    service: CampaignService
    reads: CampaignReader
    search: CampaignSearcher
    calendar: CalendarReader
    schedules: ScheduleReader
    events: EventReader
    target_states: TargetStore
    keys: ApiKeyStore
    sessions: SessionStore
    audit: AuditStore
    findings: FindingReader
    idempotency: IdempotencyStore
    brakes: BrakeControl
    overview: Callable[[], Awaitable[Overview]]
    """Reads the state of the cluster."""
    explain: Callable[[Ref, datetime, timedelta], Awaitable[Evidence]]
    """Reads the records of a campaign on the run at an instant, or on the first run so soon after.

    Raises NotFound.
    """
    edits: Callable[[], AsyncIterator[object]]
    """Listens on a connection of its own, and yields after each edit. Raises Unavailable."""
    explain_campaign: Callable[[Ref, datetime | None], Awaitable[Explanation]]
    """Explains the run at a written time, or the newest runs. Raises NotFound, OverflowError."""
    export: Callable[[], AsyncGenerator[str]]
    """Yields every campaign as a line that an import reads; a caller that stops early closes it."""
    readiness: Callable[[], Awaitable[dict[str, str]]]
    """Runs the readiness checks: the result of each is "ok" or a description of the failure.

    Where something is frozen, `frozen` is what.
    """
    metrics: Callable[[], Awaitable[tuple[bytes, str]]]
    """Returns the Prometheus exposition and its media type."""
    targets: Callable[[], Collection[str]]
    """Returns the names of the configured targets."""
    test_target: Callable[[str, str], Awaitable[TargetTestResult]]
    """Sends a test message to a target for an actor. Raises NotFound, Refused."""
    close: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """The API's address and limits, in seconds and bytes."""

    host: str = "127.0.0.1"
    port: int = 8080
    rate_limit: str = "6000/minute"
    failure_limit: str = "1000/minute"
    request_timeout: float = 30.0
    header_timeout: float = 10.0
    body_timeout: float = 30.0
    keep_alive: float = 30.0
    max_requests: int = 256
    max_connections: int = 1000
    max_connections_per_address: int = 500
    trusted_proxies: tuple[str, ...] = ()
    public_url: str | None = None
    hosts: tuple[str, ...] = ()
    header_limit: int = 16 * 1024
    body_limit: int = 256 * 1024
