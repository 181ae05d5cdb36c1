"""The types of target, and how each is built from its settings."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, TypeVar

from daemon.domain.ports import Emit
from daemon.domain.run.retry import RetryPolicy
from daemon.domain.run.target import Target
from daemon.runtime.clock import SystemClock
from daemon.targets import UnusableTarget
from daemon.targets.log import LogTarget
from daemon.targets.plugin import make_target

LOG_CONCURRENCY = 2
"""Concurrent attempts of the log target, which has no such setting."""
_CLOCK = SystemClock()

Built = dict[str, tuple[Target, RetryPolicy, int]]
"""Target, retry policy and concurrency, by name."""
_Options = TypeVar("_Options")


@dataclass(frozen=True)
class _BuildArguments:
    """The arguments of a builder."""

    name: str
    settings: Any
    emit: Emit
    now: Callable[[], datetime]
    environment: Mapping[str, str]

    def options(self, kind: Callable[..., _Options], **derived: Any) -> _Options:
        """Return the options of a target: each field is ``derived``, or the setting of its name."""
        names = {field.name for field in fields(kind)} - derived.keys()  # type: ignore[arg-type]
        return kind(**derived, **{name: getattr(self.settings, name) for name in names})


def build_all(
    targets: Mapping[str, Any],
    emit: Emit,
    *,
    now: Callable[[], datetime] = _CLOCK.now,
    environment: Mapping[str, str] | None = None,
) -> Built:
    """Build each configured target.

    Args:
        targets: validated settings by name, of the types in `config.target_settings`.
        emit: receives the events of the targets.
        now: the clock for signatures and for dates in responses.
        environment: variables that commands inherit, beside those in their settings.

    Raises:
        UnusableTarget: a target cannot be used as it is configured.
    """
    built: Built = {}
    for name, settings in targets.items():
        try:
            target = _BUILDERS[settings.type](
                _BuildArguments(name, settings, emit, now, environment or {})
            )
        except UnusableTarget as error:
            raise UnusableTarget(f"targets.{name}: {error.detail}") from error
        concurrency = getattr(settings, "concurrency", LOG_CONCURRENCY)
        built[name] = target, retry_policy_of(settings), concurrency
    return built


def retry_policy_of(settings: Any) -> RetryPolicy:
    """Return the retry policy that a target's settings describe."""
    if settings.type == "log":
        return RetryPolicy()
    return RetryPolicy(
        max_attempts=settings.max_attempts,
        first=settings.backoff_first,
        longest=settings.backoff_longest,
        holds=settings.on_lost == "hold",
        pause_after=settings.pause_after,
        longest_pause=settings.pause_longest,
    )


# Modules with a library of their own are imported only for a target that needs the library.


def _build_log(build: _BuildArguments) -> Target:
    return LogTarget(build.emit, build.settings.level)


def _build_webhook(build: _BuildArguments) -> Target:
    from daemon.targets.webhook import WebhookOptions, WebhookTarget, read_keys

    settings = build.settings
    options = build.options(
        WebhookOptions,
        keys=read_keys(settings.secrets, settings.secrets_file),
        reuse=settings.on_lost != "hold",
    )
    return WebhookTarget(options, build.now)


def _build_command(build: _BuildArguments) -> Target:
    from daemon.targets.command import CommandOptions, CommandTarget

    inherited = dict(build.environment)
    if build.settings.user is not None:
        for name in ("HOME", "USER", "LOGNAME", "SHELL"):  # the user's own, not the daemon's
            inherited.pop(name, None)
    environment = {"PATH": os.defpath, **inherited, **build.settings.environment}
    return CommandTarget(build.options(CommandOptions, environment=environment), build.emit)


def _build_broker(build: _BuildArguments) -> Target:
    from daemon.targets.broker import BrokerOptions, BrokerTarget

    options = build.options(BrokerOptions)
    try:
        if build.settings.is_nats:
            from daemon.targets.broker_nats import NatsTarget

            return NatsTarget(options)
        return BrokerTarget(options)
    except ModuleNotFoundError as error:
        problem = f"{error.name} is not installed; install campaignd[broker]"
        raise UnusableTarget(problem) from error


def _build_postgres(_build: _BuildArguments) -> Target:
    from daemon.targets.postgres import PostgresTarget

    return PostgresTarget()


def _build_plugin(build: _BuildArguments) -> Target:
    return make_target(build.settings.plugin, build.name, build.settings.options, build.emit)


_BUILDERS: dict[str, Callable[[_BuildArguments], Target]] = {
    "log": _build_log,
    "webhook": _build_webhook,
    "command": _build_command,
    "broker": _build_broker,
    "postgres": _build_postgres,
    "plugin": _build_plugin,
}
