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
class Once:
    """One instant."""

    at: datetime

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        if after < self.at <= until:
            yield self.at


@dataclass(frozen=True)
class Every:
    """Every ``seconds`` from a start to an end, both included."""

    start: datetime
    end: datetime
    seconds: int

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        at = self.start
        while at <= min(self.end, until):
            if at > after:
                yield at
            at += timedelta(seconds=self.seconds)


@dataclass(frozen=True)
class Daily:
    """Every day at one wall-clock time, from an anchor to an optional end."""

    anchor: datetime
    zone: str
    end: datetime | None = None

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
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
class Never:
    """A window without timed runs, or no schedule."""

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        yield from ()


Oracle = Once | Every | Daily | Never


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


def scheduled(at: datetime, extras: dict[str, Any]) -> dict[str, Any]:
    return {"schedule_type": "scheduled", "scheduled_at": at.isoformat(), **extras}


def daily(anchor: datetime, zone: str, extras: dict[str, Any]) -> dict[str, Any]:
    local = anchor.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    return {
        "schedule_type": "recurring",
        "scheduled_at": local.isoformat(),
        "timezone": zone,
        "recurring_config": {"frequency": "daily"},
        **extras,
    }


def window(start: datetime, end: datetime | None, extras: dict[str, Any]) -> dict[str, Any]:
    body = {"startdate": start.isoformat(), **extras}
    return body if end is None else {**body, "enddate": end.isoformat()}


def draw(seed: int, begins: datetime, length: float, scale: float = 1.0) -> list[PlannedCampaign]:
    """Draw the campaigns of an episode whose occurrences lie within ``length`` seconds."""
    chance = random.Random(f"{seed} workload")
    made: list[PlannedCampaign] = []

    def moment(low: float = 0.0, high: float | None = None) -> datetime:
        seconds = chance.uniform(low, length if high is None else high)
        return (begins + timedelta(seconds=seconds)).replace(microsecond=chance.randrange(10**6))

    def one(kind: str, type_: str, **fields: Any) -> None:
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

    burst = moment(length * 0.3, length * 0.6)
    for number in range(round(160 * scale)):
        at = burst if number % 4 == 0 else moment()
        extras = {"misfire_grace_time": chance.choice([3600, 3600, 60, 2])}
        body = scheduled(at, extras)
        one("once", "one_time", body=body, oracle=Once(at), extras=extras)
    for _ in range(round(40 * scale)):
        zone = chance.choice(QUIET_ZONES)
        anchor = moment()
        extras = {"misfire_grace_time": chance.choice([3600, 60])}
        body = daily(anchor, zone, extras)
        one("daily", "recurring", body=body, oracle=Daily(anchor, zone), zone=zone, extras=extras)
    for _ in range(round(24 * scale)):
        every = chance.choice([1, 1, 2, 3])
        start, end = moment(0, length * 0.2), moment(length * 0.7)
        extras = {
            "misfire_grace_time": chance.choice([2, 5, 3600]),
            "coalesce": chance.random() < 0.6,
            "overlap": chance.choice(["skip", "queue", "allow"]),
        }
        body = {**window(start, end, extras), "recurring_schedule": "continuously"}
        oracle = Every(start, end, every)
        one("continuous", "segment_triggered", body=body, oracle=oracle, interval=every,
            extras=extras)  # fmt: skip
    for number in range(round(20 * scale)):
        start = moment(0, length * 0.7)
        end = None if number % 5 == 0 else start + timedelta(seconds=chance.uniform(0.5, 9))
        type_ = chance.choice(["segment_triggered", "event_triggered", "live_content"])
        timed = type_ == "segment_triggered"
        body = window(start, end, {})
        if timed:
            body["recurring_schedule"] = "daily"
        one("window", type_, body=body, oracle=Daily(start, "UTC", end) if timed else Never())
    for _ in range(round(12 * scale)):
        one("draft", "one_time", body=None, oracle=Never(), starts_as_draft=True, is_edited=True)
    return made
