"""Campaigns of every kind for one episode, drawn from a seed, each with its own oracle.

An oracle computes occurrences from the inputs alone, by other means than the daemon.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

QUIET_ZONES = ("UTC", "Asia/Kathmandu", "America/Phoenix", "Asia/Tokyo", "Africa/Lagos")
"""Zones without clock changes: the nights of clock changes have their own tests."""


@dataclass(frozen=True)
class OnceOracle:
    """One instant."""

    at: datetime

    def occurrences_between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        if after < self.at <= until:
            yield self.at


@dataclass(frozen=True)
class EveryOracle:
    """Every ``seconds`` from a start to an end, both included."""

    start: datetime
    end: datetime
    seconds: int

    def occurrences_between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        at = self.start
        while at <= min(self.end, until):
            if at > after:
                yield at
            at += timedelta(seconds=self.seconds)


@dataclass(frozen=True)
class DailyOracle:
    """Every day at one wall-clock time, from an anchor to an optional end."""

    anchor: datetime
    zone: str
    end: datetime | None = None

    def occurrences_between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        local = self.anchor.astimezone(ZoneInfo(self.zone))
        until = until if self.end is None else min(until, self.end)
        day: date = local.date()
        while True:
            at = datetime.combine(day, local.time(), ZoneInfo(self.zone)).astimezone(UTC)
            if at > until:
                return
            if at > after:
                yield at
            day += timedelta(days=1)


@dataclass(frozen=True)
class NeverOracle:
    """A window without timed runs, or no schedule."""

    def occurrences_between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        yield from ()


Oracle = OnceOracle | EveryOracle | DailyOracle | NeverOracle


@dataclass
class PlannedCampaign:
    """One campaign: how it is created, and what it must do."""

    uuid: UUID
    name: str
    type: str
    target: str
    payload: dict[str, Any]
    body: dict[str, Any] | None
    oracle: Oracle
    zone: str = "UTC"
    interval: int = 300
    extras: dict[str, Any] = field(default_factory=dict)
    is_edited: bool = False
    starts_as_draft: bool = False
    made_at: datetime | None = None

    @property
    def is_continuous(self) -> bool:
        return self.type == "segment_triggered" and self.interval < 300


def scheduled_body(at: datetime, extras: dict[str, Any]) -> dict[str, Any]:
    return {"schedule_type": "scheduled", "scheduled_at": at.isoformat(), **extras}


def daily_body(anchor: datetime, zone: str, extras: dict[str, Any]) -> dict[str, Any]:
    local = anchor.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    return {
        "schedule_type": "recurring",
        "scheduled_at": local.isoformat(),
        "timezone": zone,
        "recurring_config": {"frequency": "daily"},
        **extras,
    }


def window_body(start: datetime, end: datetime | None, extras: dict[str, Any]) -> dict[str, Any]:
    body = {"startdate": start.isoformat(), **extras}
    return body if end is None else {**body, "enddate": end.isoformat()}


def draw_campaigns(
    seed: int, begins: datetime, length: float, scale: float = 1.0
) -> list[PlannedCampaign]:
    """Draw the campaigns of an episode whose occurrences lie within ``length`` seconds."""
    chance = random.Random(f"{seed} workload")
    made: list[PlannedCampaign] = []

    def draw_moment(low: float = 0.0, high: float | None = None) -> datetime:
        seconds = chance.uniform(low, length if high is None else high)
        return (begins + timedelta(seconds=seconds)).replace(microsecond=chance.randrange(10**6))

    def add_campaign(kind: str, type_: str, **fields: Any) -> None:
        target = fields.pop("target", None) or chance.choice(["log", "log", "hook", "tell"])
        payload: dict[str, Any] = {}
        if target == "hook":
            delay = chance.choice([0, 0, 0.05, 0.4, 1.3, 3.1])
            # Longer deliveries, one after the other, would outlast the window.
            payload["delay"] = min(delay, 0.4) if kind == "continuous" else delay
            payload["fail"] = int(chance.random() < 0.06)
        made.append(
            PlannedCampaign(
                uuid=UUID(int=chance.getrandbits(128), version=4),
                name=f"{kind} {len(made)}",
                type=type_,
                target=target,
                payload=payload,
                is_edited=fields.pop("is_edited", chance.random() < 0.3),
                **fields,
            )
        )

    burst = draw_moment(length * 0.3, length * 0.6)
    for number in range(round(160 * scale)):
        at = burst if number % 4 == 0 else draw_moment()
        extras = {"misfire_grace_time": chance.choice([3600, 3600, 60, 2])}
        body = scheduled_body(at, extras)
        add_campaign("once", "one_time", body=body, oracle=OnceOracle(at), extras=extras)
    for _ in range(round(40 * scale)):
        zone = chance.choice(QUIET_ZONES)
        anchor = draw_moment()
        extras = {"misfire_grace_time": chance.choice([3600, 60])}
        body = daily_body(anchor, zone, extras)
        add_campaign(
            "daily",
            "recurring",
            body=body,
            oracle=DailyOracle(anchor, zone),
            zone=zone,
            extras=extras,
        )
    for _ in range(round(24 * scale)):
        every = chance.choice([1, 1, 2, 3])
        start, end = draw_moment(0, length * 0.2), draw_moment(length * 0.7)
        extras = {
            "misfire_grace_time": chance.choice([2, 5, 3600]),
            "coalesce": chance.random() < 0.6,
            "overlap": chance.choice(["skip", "queue", "allow"]),
        }
        body = {**window_body(start, end, extras), "recurring_schedule": "continuously"}
        oracle = EveryOracle(start, end, every)
        add_campaign("continuous", "segment_triggered", body=body, oracle=oracle, interval=every,
            extras=extras)  # fmt: skip
    for number in range(round(20 * scale)):
        start = draw_moment(0, length * 0.7)
        end = None if number % 5 == 0 else start + timedelta(seconds=chance.uniform(0.5, 9))
        type_ = chance.choice(["segment_triggered", "event_triggered", "live_content"])
        timed = type_ == "segment_triggered"
        body = window_body(start, end, {})
        if timed:
            body["recurring_schedule"] = "daily"
        add_campaign(
            "window",
            type_,
            body=body,
            oracle=DailyOracle(start, "UTC", end) if timed else NeverOracle(),
        )
    for _ in range(round(12 * scale)):
        add_campaign(
            "draft",
            "one_time",
            body=None,
            oracle=NeverOracle(),
            starts_as_draft=True,
            is_edited=True,
        )
    return made
