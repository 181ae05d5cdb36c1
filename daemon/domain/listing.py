"""What a list holds: its filters, and how many items it has in all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from daemon.domain.campaign.state_machine import RunStatus, Status
from daemon.domain.read_models import RunDetail, RunKey
from daemon.domain.schedule.schedule import CampaignType

MAX_COUNT = 10_000
"""Maximum items that a list counts one by one."""


@dataclass(frozen=True, slots=True)
class Counted:
    """The number of items of a list; with ``more``, there are more than that."""

    count: int
    more: bool = False


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A range of time, half-open; None is no bound."""

    since: datetime | None = None
    before: datetime | None = None


WHENEVER = TimeRange()


@dataclass(frozen=True, slots=True)
class CampaignFilter:
    """Which campaigns a list holds; None is no condition."""

    q: str | None = None
    """Text in the name, in either case; or the id; or the uuid or its beginning."""
    status: Status | None = None
    type: CampaignType | None = None
    target: str | None = None
    timezone: str | None = None
    """Of the schedule, or of a campaign without one."""
    since: datetime | None = None
    """Only campaigns whose next run is at or after this instant."""
    before: datetime | None = None
    """Only campaigns whose next run is before this instant."""


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs of all campaigns a list holds; None is no condition."""

    q: str | None = None
    """As in `CampaignFilter`, of the run's campaign; or the run's own id."""
    status: RunStatus | None = None
    target: str | None = None
    campaign_id: int | None = None
    since: datetime | None = None
    """Only runs that were claimed at or after this instant."""
    before: datetime | None = None
    """Only runs that were claimed before this instant."""


@dataclass(frozen=True, slots=True)
class Facets:
    """The number of campaigns by the values of each field, under one filter."""

    status: Mapping[str, int]
    type: Mapping[str, int]
    target: Mapping[str, int]
    timezone: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RunsFound:
    """A page of runs, and the position at which the next page begins; None: there is none."""

    runs: Sequence[RunDetail]
    next: RunKey | None


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events of all campaigns a list holds; None is no condition."""

    event: str | None = None
    actor: str | None = None
    since: datetime | None = None
    before: datetime | None = None
