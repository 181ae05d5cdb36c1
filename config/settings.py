"""Every setting, with type, default and range; `campaignd.example.toml` documents the same.

All models are frozen. `Allowed` describes the allowed values in error messages. `SECRET` marks
settings that are never shown and may come from a file.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from config import dsn
from config.target_settings import LogTargetSettings, TargetSettings, Words
from config.timezone_data import CHOICES
from config.values import (
    SECRET,
    Allowed,
    Count,
    Level,
    RateLimit,
    Seconds,
    Section,
    WholeSeconds,
    absolute_path,
    allowed_words,
    lower_case,
    pattern_validator,
    refuse_boolean,
)

DatabaseUrl = Annotated[str, AfterValidator(dsn.checked_dsn), Allowed(dsn.ALLOWED), SECRET]


def _check_networks(value: tuple[str, ...]) -> tuple[str, ...]:
    for each in value:
        try:
            ipaddress.ip_network(each, strict=False)
        except ValueError:
            raise PydanticCustomError("network", "contains no network") from None
    return value


def _check_host_names(value: tuple[str, ...]) -> tuple[str, ...]:
    if not all(re.fullmatch(r"[A-Za-z0-9._:-]+", each) for each in value):
        raise PydanticCustomError("host", "contains other characters")
    return value


class ApiSettings(Section):
    """The HTTP API."""

    enabled: Annotated[bool, Allowed("true or false")] = True
    host: Annotated[
        str, pattern_validator(r"[A-Za-z0-9._:%-]+"), Allowed("a host name or an IP address")
    ] = "127.0.0.1"
    port: Annotated[
        int,
        BeforeValidator(refuse_boolean),
        Field(ge=0, le=65535),
        Allowed("a port from 0 to 65535, 0 picks a free one"),
    ] = 8080
    rate_limit: RateLimit = "6000/minute"
    failure_limit: RateLimit = "1000/minute"
    request_timeout: Seconds = 30.0
    header_timeout: Seconds = 10.0
    body_timeout: Seconds = 30.0
    keep_alive: Seconds = 30.0
    max_requests: Count = 256
    max_connections: Count = 1000
    max_connections_per_address: Count = 500
    trusted_proxies: Annotated[
        Words,
        AfterValidator(_check_networks),
        Allowed("a list of addresses or networks, such as 10.0.0.0/8"),
    ] = ()
    public_url: Annotated[
        str | None,
        pattern_validator(r"https?://[A-Za-z0-9.\-\[\]:]+(/[!-~]*)?"),
        Allowed("an http:// or https:// URL"),
    ] = None
    hosts: Annotated[
        Words, AfterValidator(_check_host_names), Allowed("a list of host names without ports")
    ] = ()
    pool_size: Annotated[
        int,
        BeforeValidator(refuse_boolean),
        Field(ge=1, le=1000),
        Allowed("a whole number from 1 to 1000"),
    ] = 10


class LogSettings(Section):
    """Level and format of the log."""

    level: Level = "info"
    format: Annotated[
        Literal["auto", "json", "console"],
        BeforeValidator(lower_case),
        allowed_words("auto", "json", "console"),
    ] = "auto"


class SchedulerSettings(Section):
    """Times of the scheduler in seconds, and the batch size."""

    horizon: Seconds = 60.0
    poll: Seconds = 1.0
    batch: Annotated[
        int,
        BeforeValidator(refuse_boolean),
        Field(ge=1, le=100_000),
        Allowed("a whole number from 1 to 100000"),
    ] = 1000
    heartbeat: Seconds = 1.0
    lease: Seconds = 5.0
    drain_timeout: Seconds = 30.0
    startup_timeout: Seconds = 30.0
    continuous_interval: WholeSeconds = 300
    misfire_grace_time: WholeSeconds = 3600

    @model_validator(mode="after")
    def _check_proportions(self) -> SchedulerSettings:
        if self.lease <= self.heartbeat:
            raise _clash_error("lease", "more than scheduler.heartbeat", self.heartbeat)
        if self.poll >= self.horizon:
            raise _clash_error("poll", "less than scheduler.horizon", self.horizon)
        return self


def _clash_error(field: str, allowed: str, other: float) -> PydanticCustomError:
    return PydanticCustomError(
        "clash", "clash", {"field": field, "allowed": f"{allowed} ({other:g})"}
    )


class TracesSettings(Section):
    """OpenTelemetry traces."""

    enabled: Annotated[bool, Allowed("true or false")] = False


Days = Annotated[
    int,
    BeforeValidator(refuse_boolean),
    Field(ge=0, le=36_500),
    Allowed("whole days from 0 to 36500, 0 keeps everything"),
]


class HistorySettings(Section):
    """Retention of ended runs and events, and of the audit log."""

    keep_days: Days = 0
    audit_days: Days = 400


class AuditSettings(Section):
    """The auditor, which checks the runs of every campaign against its schedule; in seconds."""

    enabled: Annotated[bool, Allowed("true or false")] = True
    sweep: WholeSeconds = 86_400
    window: WholeSeconds = 172_800
    held_after: WholeSeconds = 86_400


class DatabaseSettings(Section):
    """The connection pool."""

    pool_size: Annotated[
        int,
        BeforeValidator(refuse_boolean),
        Field(ge=1, le=1000),
        Allowed("a whole number from 1 to 1000"),
    ] = 5
    pool_timeout: Seconds = 10.0


ALLOWED_NAME = "lower-case letters, digits, - and _, at most 63"
TargetName = Annotated[str, pattern_validator(r"[a-z0-9][a-z0-9_-]{0,62}"), Allowed(ALLOWED_NAME)]


class Settings(Section):
    """The whole configuration, complete and checked.

    `database_url` None means the embedded PostgreSQL under `state_dir`. `listen_database_url` None
    means that LISTEN uses `database_url` too. `targets` always contains one called `log`.
    """

    database_url: Annotated[DatabaseUrl | None, Allowed(dsn.ALLOWED), SECRET] = Field(
        default=None, repr=False
    )
    listen_database_url: Annotated[DatabaseUrl | None, Allowed(dsn.ALLOWED), SECRET] = Field(
        default=None, repr=False
    )
    state_dir: Annotated[
        Path, Field(strict=False), AfterValidator(absolute_path), Allowed("the path of a directory")
    ]
    embedded_programs: Annotated[
        Path | None,
        Field(strict=False),
        AfterValidator(absolute_path),
        Allowed("the path of a directory"),
    ] = None
    node_name: Annotated[
        str,
        pattern_validator(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"),
        Allowed("letters, digits, '.', '_' and '-', at most 63"),
    ]
    timezone_data: Annotated[Literal["newest", "system", "package"], allowed_words(*CHOICES)] = (
        "newest"
    )
    api: ApiSettings = ApiSettings()
    log: LogSettings = LogSettings()
    scheduler: SchedulerSettings = SchedulerSettings()
    database: DatabaseSettings = DatabaseSettings()
    history: HistorySettings = HistorySettings()
    audit: AuditSettings = AuditSettings()
    traces: TracesSettings = TracesSettings()
    targets: dict[TargetName, TargetSettings] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _add_log_target(self) -> Settings:
        self.targets.setdefault("log", LogTargetSettings(type="log"))
        return self


_RELOADED = ("log", "targets", "history")
"""Sections that a reload applies; every other setting is read only at start-up."""


def needs_restart(old: Settings, new: Settings) -> list[str]:
    """Return the dotted names of changed settings that a reload does not apply."""
    changed = []
    for name, value in new:
        before = getattr(old, name)
        if name in _RELOADED or value == before:
            continue
        if isinstance(value, Section):
            changed += [f"{name}.{key}" for key, now in value if now != getattr(before, key)]
        else:
            changed.append(name)
    return changed
