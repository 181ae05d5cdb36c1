"""Every target without descriptors, memory or threads: the attempt did not start."""

from __future__ import annotations

import errno
import os
import resource
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from daemon.domain.run.outcome import Delivered, NotStarted
from daemon.domain.run.target import Target
from daemon.targets.broker import BrokerOptions, BrokerTarget
from daemon.targets.command import CommandOptions, CommandTarget
from daemon.targets.shortage import is_resource_shortage
from daemon.targets.webhook import WebhookOptions, WebhookTarget
from tests.support.builders import new_attempt
from tests.support.servers import Server


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Leave this process no further descriptor."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def webhook(url: str) -> Target:
    return WebhookTarget(WebhookOptions(url, timeout=5), lambda: datetime.now(UTC))


def command() -> Target:
    return CommandTarget(CommandOptions([sys.executable, "-c", ""]), lambda *_, **__: None)


async def outcomes(target: Target) -> tuple[object, object]:
    """Return the outcome without descriptors, and the one after."""
    with no_descriptors():
        first = await target.deliver(new_attempt())
    return first, await target.deliver(new_attempt(1))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_webhook_without_descriptors(host: str) -> None:
    """Neither the connection nor the look-up of a name counts."""
    with Server() as server:
        target = webhook(f"http://{host}:{server.port}/")
        first, second = await outcomes(target)
        await target.close()
    assert isinstance(first, NotStarted), first
    assert second == Delivered()


async def test_a_command_without_descriptors() -> None:
    first, second = await outcomes(command())
    assert isinstance(first, NotStarted), first
    assert "Too many open files" in first.reason
    assert second == Delivered()


@pytest.mark.parametrize("url", ["amqp://127.0.0.1:1//", "redis://127.0.0.1:1/0"])
async def test_a_broker_without_descriptors(url: str) -> None:
    """Only the first failure is this process's own."""
    target = BrokerTarget(BrokerOptions(url, timeout=2))
    first, second = await outcomes(target)
    await target.close()
    assert isinstance(first, NotStarted), first
    assert not isinstance(second, NotStarted)


@pytest.mark.parametrize("kind", ["webhook", "command", "broker"])
async def test_no_thread_can_be_started(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are looked up, programs awaited and messages published in threads."""
    target: Target = {
        "webhook": lambda: webhook("http://receiver.invalid/"),
        "command": command,
        "broker": lambda: BrokerTarget(BrokerOptions("redis://127.0.0.1:1/0")),
    }[kind]()

    def refuse(_self: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        outcome = await target.deliver(new_attempt())
    await target.close()
    assert isinstance(outcome, NotStarted), outcome


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.EMFILE, "x"), True),
        (OSError(errno.ENFILE, "x"), True),
        (OSError(errno.ENOMEM, "x"), True),
        (MemoryError(), True),
        (RuntimeError("can't start new thread"), True),
        (RuntimeError("x"), False),
        (OSError(errno.ECONNREFUSED, "x"), False),
        (socket.gaierror(socket.EAI_AGAIN, "x"), False),
        (None, False),
    ],
)
def test_what_is_a_shortage(error: BaseException | None, expected: bool) -> None:
    assert is_resource_shortage(error) is expected
