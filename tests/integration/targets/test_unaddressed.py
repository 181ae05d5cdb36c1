"""What is kept out of the words that an attempt failed with."""

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
from tests.support.servers import Server, answer
from tests.support.works import work

URL = "amqp://user:s%40fe-w0rd@broker.example:5672/vhost%2Fname?token=abcdef"


@pytest.mark.parametrize(
    ("error", "said"),
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
def test_why(error: Exception, said: str | None) -> None:
    """The system's words, or the library's without what is hidden."""
    told = describe_error(error, redactor(URL))
    assert said is None or said in told
    for hidden in ("broker.example", "10.1.2.3", "fe80::1:2", "user", "w0rd", "vhost", "abcdef"):
        assert hidden not in told


def test_what_came_of_another_error() -> None:
    """Libraries wrap what the system said."""
    error = ValueError("Error 111 connecting to 10.1.2.3:6379")
    error.__cause__ = ConnectionRefusedError(111, "at 10.1.2.3")
    assert describe_error(error, redactor("")) == "ValueError: Connection refused"


async def delivered(url: str, **settings: Any) -> str:
    """Why a webhook did not take a run."""
    target = WebhookTarget(WebhookOptions(url, **settings), lambda: datetime.now(UTC))
    try:
        outcome = await target.deliver(work())
    finally:
        await target.close()
    assert isinstance(outcome, Retry | Reject)
    return outcome.reason


async def test_a_webhook_says_no_address() -> None:
    """Whether nobody is there, or an answer repeats what it was asked for."""
    path = "/hooks/pathtoken?key=querytoken"
    repeats = b"Cannot POST /hooks/pathtoken, pathtoken, querytoken, headertoken"
    with servers.nobody() as port, Server({path: answer(400, body=repeats)}) as server:
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


async def test_a_time_out_says_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's words have the whole URL there."""

    async def never(*_args: object, **_fields: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("aiohttp.TCPConnector._create_connection", never)
    reason = await delivered("http://somewhere.example/hooks/token", connect_timeout=0.05)
    assert reason == "no connection within 0.05 s"
