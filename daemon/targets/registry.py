"""The types of target there are, and how each is built from its settings."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from daemon.domain.ports import Emit
from daemon.domain.run.retry import RetryPolicy
from daemon.domain.run.target import Target
from daemon.runtime.clock import SystemClock
from daemon.targets.errors import UnusableTarget
from daemon.targets.log import LogTarget
from daemon.targets.plugin import make

LOG_CONCURRENCY = 2
_CLOCK = SystemClock()

Built = dict[str, tuple[Target, RetryPolicy, int]]


def build(
    targets: Mapping[str, Any],
    emit: Emit,
    *,
    now: Callable[[], datetime] = _CLOCK.now,
    environment: Mapping[str, str] | None = None,
) -> Built:
    """Each configured target with its retry policy and how many attempts it takes at once.

    Args:
        targets: name to settings, as `config.target_settings` has them.
        emit: for what targets tell.
        now: the clock for signatures and dates in answers.
        environment: what commands inherit, beside what their settings say.

    Raises:
        UnusableTarget: one of them can not be used as it is configured.
    """
    built: Built = {}
    for name, settings in targets.items():
        try:
            target = _BUILDERS[settings.type](name, settings, emit, now, environment or {})
        except UnusableTarget as error:
            raise UnusableTarget(f"targets.{name}: {error.detail}") from error
        concurrency = getattr(settings, "concurrency", LOG_CONCURRENCY)
        built[name] = target, policy_of(settings), concurrency
    return built


def policy_of(settings: Any) -> RetryPolicy:
    """How often and how patiently runs of a target are tried, by its settings."""
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


def _log(name: str, settings: Any, emit: Emit, *_: object) -> Target:
    del name
    return LogTarget(emit, settings.level)


def _webhook(
    name: str, settings: Any, emit: Emit, now: Callable[[], datetime], *_: object
) -> Target:
    from daemon.targets import webhook

    del name, emit
    return webhook.WebhookTarget(
        webhook.WebhookOptions(
            url=settings.url,
            keys=webhook.read_keys(settings.secrets, settings.secrets_file),
            headers=settings.headers,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
            timeout=settings.timeout,
            retry_after_limit=settings.retry_after_limit,
            lease=settings.lease,
            concurrency=settings.concurrency,
            reuse=settings.on_lost != "hold",
            verify_tls=settings.verify_tls,
            ca_file=settings.ca_file,
        ),
        now,
    )


def _command(
    name: str,
    settings: Any,
    emit: Emit,
    now: Callable[[], datetime],
    environment: Mapping[str, str],
) -> Target:
    from daemon.targets import command

    del name, now
    return command.CommandTarget(
        command.CommandOptions(
            argv=settings.argv,
            environment={"PATH": os.defpath, **environment, **settings.environment},
            cwd=settings.cwd,
            timeout=settings.timeout,
            kill_after=settings.kill_after,
        ),
        emit,
    )


def _broker(name: str, settings: Any, *_: object) -> Target:
    from daemon.targets import broker

    del name
    return broker.BrokerTarget(
        broker.BrokerOptions(
            broker_url=settings.broker_url,
            queue=settings.queue,
            task=settings.task,
            finishes_later=settings.finishes == "later",
            lease=settings.lease,
            timeout=settings.timeout,
            concurrency=settings.concurrency,
        )
    )


def _postgres(*_: object) -> Target:
    from daemon.targets.postgres import PostgresTarget

    return PostgresTarget()


def _plugin(name: str, settings: Any, emit: Emit, *_: object) -> Target:
    return make(settings.plugin, name, settings.options, emit)


_BUILDERS: dict[str, Callable[..., Target]] = {
    "log": _log,
    "webhook": _webhook,
    "command": _command,
    "broker": _broker,
    "postgres": _postgres,
    "plugin": _plugin,
}
