"""Reasons of failed attempts contain neither addresses nor secrets."""

from __future__ import annotations

import asyncio
import socket
import ssl
from datetime import UTC, datetime
from typing import Any

import pytest

from daemon.domain.run.outcome import Reject, Retry
from daemon.targets.redaction import describe_error, redactor
from daemon.targets.webhook import WebhookOptions, WebhookTarget
from tests.support import servers
from tests.support.builders import new_attempt
from tests.support.servers import Server, answer_with

URL = "amqp://user:s%40fe-w0rd@broker.example:5672/vhost%2Fname?token=abcdef"


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (OSError(111, "Connect call failed ('10.1.2.3', 5672)"), "Connection refused"),
        (OSError("Multiple exceptions: ('10.1.2.3', 5672), ('fe80::1:2', 5672, 0, 0)"), None),
        (ValueError("Error 111 connecting to broker.example:5672."), "Error 111 connecting to"),
        (ValueError(f"no route to {URL}"), "no route to …"),
        (ValueError("s@fe-w0rd is not abcdef at vhost/name"), "… is not … at …"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] broker.example"), None),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_the_reason(error: Exception, shown: str | None) -> None:
    """The reason is the system's text, or the library's with the secrets hidden."""
    reason = describe_error(error, redactor(URL))
    assert shown is None or shown in reason
    for hidden in ("broker.example", "10.1.2.3", "fe80::1:2", "user", "w0rd", "vhost", "abcdef"):
        assert hidden not in reason


def test_an_error_with_a_cause() -> None:
    """Libraries wrap the system's error."""
    error = ValueError("Error 111 connecting to 10.1.2.3:6379")
    error.__cause__ = ConnectionRefusedError(111, "at 10.1.2.3")
    assert describe_error(error, redactor("")) == "ValueError: Connection refused"


async def delivered(url: str, **settings: Any) -> str:
    """Return the reason of a failed webhook."""
    target = WebhookTarget(WebhookOptions(url, **settings), lambda: datetime.now(UTC))
    try:
        outcome = await target.deliver(new_attempt())
    finally:
        await target.close()
    assert isinstance(outcome, Retry | Reject)
    return outcome.reason


async def test_a_webhook_shows_no_address() -> None:
    """Neither for a failed connection nor for a response that repeats the request."""
    path = "/hooks/pathtoken?key=querytoken"
    repeats = b"Cannot POST /hooks/pathtoken, pathtoken, querytoken, headertoken"
    with servers.refusing_port() as port, Server({path: answer_with(400, body=repeats)}) as server:
        reasons = [
            await delivered(where + path, headers={"X-Key": "headertoken"})
            for where in (
                f"http://user:pass-w0rd@127.0.0.1:{port}",
                f"https://user:pass-w0rd@localhost:{port}",
                "http://user:pass-w0rd@nowhere.invalid",
                f"http://user:pass-w0rd@127.0.0.1:{server.port}",
            )
        ]
    hidden = ("user", "pass-w0rd", "127.0.0.1", "localhost", "nowhere", "token", "/hooks")
    for reason in reasons:
        assert not [part for part in hidden if part in reason], reason
    assert reasons[0] == reasons[1] == "ClientConnectorError: Connection refused"
    assert reasons[3] == "HTTP 400: Cannot POST …, …, …, …"


async def test_a_timeout_shows_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's own text contains the whole URL."""

    async def never(*_args: object, **_fields: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("aiohttp.TCPConnector._create_connection", never)
    reason = await delivered("http://somewhere.example/hooks/token", connect_timeout=0.05)
    assert reason == "no connection within 0.05 s"
