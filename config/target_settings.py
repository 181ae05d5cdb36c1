"""The settings of each type of target, which `type` selects."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from config.values import (
    SECRET,
    Allowed,
    Level,
    Seconds,
    Section,
    absolute_path,
    allowed_words,
    refuse_boolean,
)

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_RESERVED = ("host", "content-length", "content-type", "transfer-encoding", "connection")
_SUBJECT = re.compile(r"[^\s.*>]+(\.[^\s.*>]+)*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _invalid_value(text: str) -> PydanticCustomError:
    return PydanticCustomError("pattern", "{reason}", {"reason": text})


def _check_web_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        port_is_right = False
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_right:
        raise _invalid_value("not a valid URL")
    if parts.fragment or any(ord(character) <= 32 for character in value):
        raise _invalid_value("contains a fragment or a space")
    return value


def _check_proxy(value: str) -> str:
    return value if value in ("none", "env") else _check_web_url(value)


def _check_networks(value: tuple[str, ...]) -> tuple[str, ...]:
    for network in value:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            raise _invalid_value(str(error)) from None
    return value


def _check_broker_url(value: str) -> str:
    scheme, separator, rest = value.partition("://")
    if not separator or not rest or not re.fullmatch(r"[a-z][a-z0-9+]*", scheme):
        raise _invalid_value("not a valid URL")
    return value


def _split_words(value: Any) -> Any:
    """Split the text of an environment variable into words."""
    return tuple(value.split()) if isinstance(value, str) else value


def _parse_table(value: Any) -> Any:
    """Parse the text of an environment variable, or of a file, as TOML."""
    if not isinstance(value, str):
        return value
    try:
        return tomllib.loads(value)
    except tomllib.TOMLDecodeError:
        raise _invalid_value("not a valid TOML table") from None


def _check_headers(value: Mapping[str, str]) -> Mapping[str, str]:
    for name, text in value.items():
        if not _HEADER.fullmatch(name) or not text.isprintable() or not text.isascii():
            raise _invalid_value("contains a name or value that cannot be sent")
        if name.lower() in _RESERVED or name.lower().startswith(("webhook-", "campaignd-")):
            raise _invalid_value(f"{name} is set by campaignd")
    return value


def _check_variables(value: Mapping[str, str]) -> Mapping[str, str]:
    for name, text in value.items():
        if not _VARIABLE.fullmatch(name) or "\0" in text:
            raise _invalid_value("contains a name or value that cannot be set")
    return value


def _check_argv(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or not value[0] or any("\0" in word for word in value):
        raise _invalid_value("must name a program")
    return value


def _whole_number(low: int, high: int) -> tuple[BeforeValidator, Any, Allowed]:
    return (
        BeforeValidator(refuse_boolean),
        Field(ge=low, le=high),
        Allowed(f"a whole number from {low} to {high}"),
    )


Concurrency = Annotated[int, *_whole_number(1, 10_000)]
NotNegative = Annotated[
    float,
    BeforeValidator(refuse_boolean),
    Field(ge=0, le=31_536_000, allow_inf_nan=False),
    Allowed("seconds, from 0 to a year"),
]
Words = Annotated[
    tuple[str, ...], Field(strict=False), BeforeValidator(_split_words), Allowed("a list of texts")
]
Switch = Annotated[bool, Allowed("true or false")]
File = Annotated[
    Path | None,
    Field(strict=False),
    AfterValidator(absolute_path),
    Allowed("the path of a file"),
]
Texts = Annotated[dict[str, str], BeforeValidator(_parse_table), Allowed("a table of texts")]


Networks = Annotated[
    tuple[str, ...],
    Field(strict=False),
    BeforeValidator(_split_words),
    AfterValidator(_check_networks),
    Allowed("a list of networks such as 10.0.0.0/8 or fc00::/7"),
]


class _DeliverySettings(Section):
    """Settings of every target whose delivery may fail."""

    concurrency: Concurrency = 32
    max_attempts: Annotated[int, *_whole_number(1, 1000)] = 3
    backoff_first: Seconds = 1.0
    backoff_longest: Seconds = 300.0
    on_lost: Annotated[Literal["redeliver", "hold"], allowed_words("redeliver", "hold")] = (
        "redeliver"
    )
    lease: Seconds = 300.0
    pause_after: Annotated[int, *_whole_number(0, 1000)] = 5
    pause_longest: Seconds = 30.0

    @model_validator(mode="after")
    def _check_proportions(self) -> _DeliverySettings:
        if self.backoff_longest < self.backoff_first:
            raise PydanticCustomError(
                "clash",
                "clash",
                {
                    "field": "backoff_longest",
                    "allowed": f"at least backoff_first ({self.backoff_first:g})",
                },
            )
        return self


Format = Annotated[Literal["campaignd", "cloudevents"], allowed_words("campaignd", "cloudevents")]


class LogTargetSettings(Section):
    """A target that writes each run as a line in the log."""

    type: Annotated[Literal["log"], allowed_words("log")]
    level: Level = "info"


class WebhookTargetSettings(_DeliverySettings):
    """A target that posts runs to a URL, signed as Standard Webhooks specifies."""

    type: Annotated[Literal["webhook"], allowed_words("webhook")]
    url: Annotated[
        str, AfterValidator(_check_web_url), Allowed("an http:// or https:// URL"), SECRET
    ] = Field(repr=False)
    secrets: Annotated[Words, Allowed("a list of whsec_... texts"), SECRET] = Field(
        default=(), repr=False
    )
    secrets_file: Annotated[
        Path | None,
        Field(strict=False),
        AfterValidator(absolute_path),
        Allowed("the path of a file"),
    ] = None
    headers: Annotated[
        Texts, AfterValidator(_check_headers), Allowed("a table of header names and texts"), SECRET
    ] = Field(default_factory=dict, repr=False)
    format: Format = "campaignd"
    proxy: Annotated[
        str,
        AfterValidator(_check_proxy),
        Allowed("none, env, or an http:// or https:// URL"),
        SECRET,
    ] = Field(default="none", repr=False)
    connect_timeout: Seconds = 5.0
    read_timeout: Seconds | None = None
    timeout: Seconds = 30.0
    retry_after_limit: NotNegative = 3600.0
    verify_tls: Switch = True
    ca_file: File = None
    client_cert: File = None
    client_key: File = None
    allow_networks: Networks = ()
    deny_networks: Networks = ()


class CommandTargetSettings(_DeliverySettings):
    """A target that starts a program for each run, with the run on its standard input."""

    type: Annotated[Literal["command"], allowed_words("command")]
    argv: Annotated[
        tuple[str, ...],
        Field(strict=False),
        AfterValidator(_check_argv),
        Allowed("a list: the program and its arguments"),
    ]
    concurrency: Concurrency = 4
    timeout: Seconds = 300.0
    kill_after: Seconds = 5.0
    user: Annotated[str | None, Field(min_length=1), Allowed("the name of a user")] = None
    max_memory_mib: Annotated[int | None, *_whole_number(1, 1 << 30)] = None
    max_cpu_seconds: Annotated[int | None, *_whole_number(1, 31_536_000)] = None
    max_open_files: Annotated[int | None, *_whole_number(3, 1 << 20)] = None
    cwd: Annotated[
        Path | None,
        Field(strict=False),
        AfterValidator(absolute_path),
        Allowed("the path of a directory"),
    ] = None
    environment: Annotated[
        Texts, AfterValidator(_check_variables), Allowed("a table of variables and texts"), SECRET
    ] = Field(default_factory=dict, repr=False)


class BrokerTargetSettings(_DeliverySettings):
    """A target that sends runs to the queue of a message broker."""

    type: Annotated[Literal["broker"], allowed_words("broker")]
    broker_url: Annotated[
        str,
        AfterValidator(_check_broker_url),
        Allowed("a broker's URL such as amqp://host//, redis://host/0 or nats://host"),
        SECRET,
    ] = Field(repr=False)
    queue: Annotated[str, Field(min_length=1, max_length=200), Allowed("a queue's name")] = (
        "campaignd"
    )
    queue_arguments: Annotated[
        dict[str, Any], BeforeValidator(_parse_table), Allowed("a table of queue arguments")
    ] = Field(default_factory=dict)
    task: Annotated[str, Field(max_length=200), Allowed("a Celery task's name, or empty")] = ""
    format: Format = "campaignd"
    finishes: Annotated[Literal["later", "at_once"], allowed_words("later", "at_once")] = "later"
    concurrency: Concurrency = 4
    timeout: Seconds = 30.0
    verify_tls: Switch = True
    ca_file: File = None

    @property
    def is_nats(self) -> bool:
        """Whether the broker is NATS JetStream."""
        return self.broker_url.startswith(("nats://", "tls://"))

    @model_validator(mode="after")
    def _check_combinations(self) -> BrokerTargetSettings:
        def refuse(field: str, allowed: str) -> PydanticCustomError:
            return PydanticCustomError("clash", "clash", {"field": field, "allowed": allowed})

        if self.task and self.format != "campaignd":
            raise refuse("format", "campaignd, the format of Celery's calls")
        if self.is_nats and self.task:
            raise refuse("task", "empty, because Celery does not read from NATS")
        if self.is_nats and self.queue_arguments:
            raise refuse("queue_arguments", "empty, because a stream of NATS has its own settings")
        if self.is_nats and not _SUBJECT.fullmatch(self.queue):
            raise refuse("queue", "a subject of NATS, such as campaigns.runs")
        return self


class PostgresTargetSettings(_DeliverySettings):
    """A target whose runs wait in the database for `campaignd worker`."""

    type: Annotated[Literal["postgres"], allowed_words("postgres")]
    concurrency: Concurrency = 2
    lease: Seconds = 60.0


class PluginTargetSettings(_DeliverySettings):
    """A target of another package, by its entry point."""

    type: Annotated[Literal["plugin"], allowed_words("plugin")]
    plugin: Annotated[
        str, Field(min_length=1), Allowed("the name of an entry point of campaignd.targets")
    ]
    options: Annotated[
        dict[str, Any], BeforeValidator(_parse_table), Allowed("a table"), SECRET
    ] = Field(default_factory=dict, repr=False)


TARGET_MODELS = (
    LogTargetSettings,
    WebhookTargetSettings,
    CommandTargetSettings,
    BrokerTargetSettings,
    PostgresTargetSettings,
    PluginTargetSettings,
)
TARGET_TYPES = ("log", "webhook", "command", "broker", "postgres", "plugin")

TargetSettings = Annotated[
    LogTargetSettings
    | WebhookTargetSettings
    | CommandTargetSettings
    | BrokerTargetSettings
    | PostgresTargetSettings
    | PluginTargetSettings,
    Field(discriminator="type"),
]
