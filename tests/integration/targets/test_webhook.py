"""The webhook target against real servers: its requests, and the outcome of each response."""

from __future__ import annotations

import asyncio
import base64
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from daemon.domain.run.outcome import Accepted, Delivered, Outcome, OutcomeUnknown, Reject, Retry
from daemon.targets import UnusableTarget, webhook
from daemon.targets.webhook import WebhookOptions, WebhookTarget, retry_after
from daemon.targets.webhook_signature import key_from
from tests.support import servers
from tests.support.builders import new_attempt
from tests.support.certificates import make_certificate
from tests.support.clocks import NOON
from tests.support.servers import Answer, Server, answer_with

TOO_MUCH = "too much data before the response"
SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
async def target(server: Server) -> AsyncIterator[Callable[..., WebhookTarget]]:
    """Return a factory of targets for the server; they are closed at the end."""
    made: list[WebhookTarget] = []

    def make(path: str = "/hook", **settings: object) -> WebhookTarget:
        given = WebhookOptions(server.url + path, lease=120, timeout=20, connect_timeout=10)
        made.append(WebhookTarget(replace(given, **settings), now))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        await each.close()
    await asyncio.sleep(0.01)


async def test_the_request(server: Server, target: Callable[..., WebhookTarget]) -> None:
    """It has the run as JSON, its id, the attempt, a trace, and a valid signature."""
    keys = [key_from(SECRET), key_from(OTHER)]
    to = target(keys=keys, headers={"Authorization": "Bearer x"})
    assert await to.deliver(new_attempt(number=3)) == Delivered()
    (request,) = server.requests
    assert request.json == {
        "type": "campaign.run",
        "timestamp": "2026-06-01T12:00:00.000000Z",
        "data": {
            "run_id": str(new_attempt().run_id),
            "attempt": 3,
            "campaign_id": 7,
            "campaign_uuid": str(new_attempt().campaign_uuid),
            "campaign_name": "Sommer 🌞",
            "scheduled_for": "2026-06-01T12:00:00.000000Z",
            "target": "crm",
            "payload": {"segment": 12, "text": "Grüße"},
        },
    }
    headers = request.headers
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == str(new_attempt().run_id)
    assert headers["campaignd-attempt"] == "3"
    assert headers["authorization"] == "Bearer x"
    version, trace, span, flags = headers["traceparent"].split("-")
    assert (version, trace, flags, len(span)) == ("00", new_attempt().run_id.hex, "01", 16)
    for secret in (SECRET, OTHER):
        assert Webhook(secret).verify(request.body, headers) == request.json
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(request.body + b" ", headers)


async def test_without_keys_nothing_is_signed(
    server: Server, target: Callable[..., WebhookTarget]
) -> None:
    """The other headers are still sent."""
    await target().deliver(new_attempt())
    assert "webhook-signature" not in server.requests[0].headers
    assert "webhook-timestamp" in server.requests[0].headers


async def test_a_configured_header_replaces_the_default(
    server: Server, target: Callable[..., WebhookTarget]
) -> None:
    """It is sent once, however its name is written."""
    await target(headers={"user-agent": "shop", "X-Plan": "a"}).deliver(new_attempt())
    headers = server.requests[0].headers
    assert headers["user-agent"] == "shop"
    assert headers["x-plan"] == "a"
    assert headers["accept-encoding"] == "identity"


async def test_connections_are_kept(server: Server, target: Callable[..., WebhookTarget]) -> None:
    """Twenty sequential runs need one connection; a target that holds needs one for each."""
    to, fresh = target(), target(reuse=False)
    for number in range(20):
        await to.deliver(new_attempt(number))
    assert server.connections == 1
    for number in range(3):
        await fresh.deliver(new_attempt(number))
    assert server.connections == 4


async def test_the_client_never_repeats_a_request(
    server: Server, target: Callable[..., WebhookTarget]
) -> None:
    """A kept connection breaks in its second request: only `on_lost` decides about a repeat."""
    to = target()
    assert await to.deliver(new_attempt(0)) == Delivered()
    server.default = servers.resets
    assert isinstance(await to.deliver(new_attempt(1)), OutcomeUnknown)
    assert server.connections == 1
    assert set(server.count_run_ids().values()) == {1}


@pytest.mark.parametrize(
    ("answered", "expected"),
    [
        (answer_with(200), Delivered()),
        (answer_with(204, body=b""), Delivered()),
        (answer_with(299), Delivered()),
        (answer_with(202), Accepted(120)),
        (answer_with(301, "Location: /else"), Reject("HTTP 301: redirects are not followed")),
        (answer_with(307, "Location: http://127.0.0.1:1/"), Reject),
        (answer_with(304, body=b""), Reject),
        (answer_with(400, body=b"no\nsuch  segment"), Reject("HTTP 400: no such segment")),
        (answer_with(401), Reject),
        (answer_with(404), Reject),
        (answer_with(410), Reject),
        (answer_with(422, body=b"x" * 5000), Reject),
        (answer_with(408), Retry),
        (answer_with(425), Retry),
        (answer_with(429, "Retry-After: 7"), Retry("HTTP 429: ok", 7.0)),
        (answer_with(429, "Retry-After: 999999999"), Retry("HTTP 429: ok", 3600.0)),
        (answer_with(503, "Retry-After: soon"), Retry("HTTP 503: ok", 0.0)),
        (answer_with(500, body=b""), Retry("HTTP 500", 0.0)),
        (answer_with(502), OutcomeUnknown("HTTP 502: ok", 0.0)),
        (answer_with(504), OutcomeUnknown),
        (answer_with(599), Retry),
    ],
)
async def test_the_outcome_of_a_response(
    server: Server,
    target: Callable[..., WebhookTarget],
    answered: Answer,
    expected: Outcome | type[Outcome],
) -> None:
    """The outcomes are those in the table of docs/targets.md."""
    server.default = answered
    outcome = await target().deliver(new_attempt())
    if isinstance(expected, type):
        assert isinstance(outcome, expected), outcome
        assert len(getattr(outcome, "reason", "")) < 260
    else:
        assert outcome == expected
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("hostile", "expected", "timeout"),
    [
        (servers.never_answers, OutcomeUnknown, 2.0),
        (servers.slow_headers, OutcomeUnknown, 2.0),
        (servers.endless_headers, OutcomeUnknown, 2.0),
        (servers.endless_header, OutcomeUnknown, 2.0),
        (servers.only_provisional, OutcomeUnknown, 2.0),
        (servers.endless_continue, OutcomeUnknown, 60.0),
        (servers.endless_responses, Delivered, 60.0),
        (servers.endless_body, Delivered, 2.0),
        (servers.dripping_body, Delivered, 2.0),
        (servers.endless_error_body, Retry, 2.0),
        (servers.resets, OutcomeUnknown, 60.0),
        (servers.resets_in_the_body, Delivered, 60.0),
        (servers.not_http, OutcomeUnknown, 60.0),
        (servers.falsely_compressed, Delivered, 60.0),
    ],
)
async def test_a_hostile_server(
    server: Server,
    target: Callable[..., WebhookTarget],
    hostile: Answer,
    expected: type[Outcome],
    timeout: float,
) -> None:
    """The attempt ends in time, and the next one succeeds."""
    server.answers["/hostile"] = hostile
    to = target("/hostile", timeout=timeout)
    began = time.monotonic()
    outcome = await to.deliver(new_attempt())
    took = time.monotonic() - began
    assert isinstance(outcome, expected), outcome
    assert took < 20, "far less than the server would take, or a long timeout"
    del server.answers["/hostile"]
    assert await to.deliver(new_attempt()) == Delivered()
    assert set(server.count_run_ids()) == {str(new_attempt().run_id)}


@pytest.mark.parametrize(
    ("hostile", "expected"),
    [
        (
            servers.endless_continue,
            OutcomeUnknown("ClientPayloadError: too much data before the response"),
        ),
        (servers.endless_responses, Delivered()),
    ],
)
async def test_a_hostile_server_does_not_hold_the_event_loop(
    server: Server, target: Callable[..., WebhookTarget], hostile: Answer, expected: Outcome
) -> None:
    """Five endless responses delay other targets by milliseconds, and end at once."""
    server.default = hostile
    to = target(timeout=60.0)
    longest, last = 0.0, time.thread_time()

    async def measure() -> None:
        nonlocal longest, last
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, last = max(longest, now - last), now

    loop = asyncio.get_running_loop()
    measuring = loop.create_task(measure())
    outcomes = await asyncio.gather(*(to.deliver(new_attempt(number)) for number in range(5)))
    measuring.cancel()
    assert outcomes == [expected] * 5
    assert longest < 0.25, "it was 2.3 s without a limit"


async def test_a_few_interim_responses_are_skipped(
    server: Server, target: Callable[..., WebhookTarget]
) -> None:
    """Interim responses are part of HTTP; the final response decides, on a kept connection too."""

    async def hints_first(request: servers.Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 60 + servers.OK)
        await writer.drain()

    server.default = hints_first
    to = target()
    for number in range(3):
        assert await to.deliver(new_attempt(number)) == Delivered()
    assert server.connections == 1


@pytest.mark.parametrize(
    ("silent", "read_timeout", "expected"),
    [
        (servers.never_answers, 0.2, OutcomeUnknown("no data for 0.2 s")),
        (servers.silent_after_continue, 0.2, OutcomeUnknown("no data for 0.2 s")),
        (servers.silent_in_the_head, 0.2, OutcomeUnknown("no data for 0.2 s")),
        (servers.silent_after_the_head, 60, Delivered()),
    ],
)
async def test_a_receiver_that_falls_silent(
    server: Server,
    target: Callable[..., WebhookTarget],
    silent: Answer,
    read_timeout: float,
    expected: Outcome,
) -> None:
    """It does not hold its slot for long; a complete status line counts."""
    server.answers["/silent"] = silent
    to = target("/silent", timeout=3600, read_timeout=read_timeout)
    async with asyncio.timeout(50):
        assert await to.deliver(new_attempt()) == expected


async def test_a_receiver_that_is_slow_is_not_silent(
    server: Server, target: Callable[..., WebhookTarget]
) -> None:
    """A response that trickles in is ended by the timeout of the whole request."""
    server.default = servers.slow_headers
    outcome = await target(timeout=2.0, read_timeout=20.0).deliver(new_attempt())
    assert outcome == OutcomeUnknown("no response within 2 s")


async def test_no_server_listens(target: Callable[..., WebhookTarget]) -> None:
    """A refused connection delivered nothing, so the run is retried even with `hold`."""
    with servers.refusing_port() as port:
        outcome = await target(url=f"http://127.0.0.1:{port}/").deliver(new_attempt())
    assert isinstance(outcome, Retry)


async def test_an_unknown_host(target: Callable[..., WebhookTarget]) -> None:
    """An unknown name delivered nothing, so the run is retried."""
    to = target(url="http://nowhere.invalid/", timeout=2, connect_timeout=1)
    outcome = await to.deliver(new_attempt())
    assert isinstance(outcome, Retry)


async def test_tls(tmp_path: Path, target: Callable[..., WebhookTarget]) -> None:
    """A certificate is verified, unless disabled; a private authority is accepted."""
    certificate, key = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Server(tls=context) as server:
        outcome = await target(url=server.url).deliver(new_attempt())
        assert isinstance(outcome, Retry)
        assert "certificate" in outcome.reason.lower()
        assert server.requests == []
        assert (
            await target(url=server.url, ca_file=certificate).deliver(new_attempt()) == Delivered()
        )
        assert await target(url=server.url, verify_tls=False).deliver(new_attempt()) == Delivered()


async def test_plain_http_where_tls_is_expected(
    server: Server, target: Callable[..., WebhookTarget]
) -> None:
    """The server does not support TLS."""
    url = server.url.replace("http:", "https:")
    outcome = await target(url=url, timeout=2, connect_timeout=1).deliver(new_attempt())
    assert isinstance(outcome, Retry)


async def test_a_cancelled_attempt_leaves_nothing(
    server: Server, target: Callable[..., WebhookTarget]
) -> None:
    """A stop during a request closes the connection."""
    server.default = servers.never_answers
    to = target(timeout=30.0)
    attempt = asyncio.create_task(to.deliver(new_attempt()))
    while not server.requests:  # noqa: ASYNC110 - it is filled by another thread
        await asyncio.sleep(0.01)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    server.default = answer_with(200)
    assert await to.deliver(new_attempt()) == Delivered()


def test_retry_after() -> None:
    """The value is in seconds or a date, limited; an invalid value counts as 0."""
    for text, seconds in {
        "0": 0.0,
        " 12 ": 12.0,
        "9" * 400: 100.0,
        "-5": 0.0,
        "1.5": 0.0,
        "²": 0.0,
        format_datetime(NOON + timedelta(seconds=30), usegmt=True): 30.0,
        format_datetime(NOON - timedelta(days=30), usegmt=True): 0.0,
        format_datetime(NOON + timedelta(days=3000), usegmt=True): 100.0,
        "Mon, 99 Foo 2026": 0.0,
        "": 0.0,
    }.items():
        assert retry_after(text, NOON, 100.0) == seconds, text
    assert retry_after(None, NOON, 100.0) == 0.0


def test_keys(tmp_path: Path) -> None:
    """Keys come from the settings and from a file; an error does not show the secret."""
    file = tmp_path / "keys"
    file.write_text(f"\ufeff{OTHER}\n\n", encoding="utf-8")
    assert webhook.read_keys([SECRET], file) == [key_from(SECRET), key_from(OTHER)]
    for wrong in ("whsec_!!!", "whsec_" + "A" * 8, "short"):
        with pytest.raises(UnusableTarget) as caught:
            webhook.read_keys([wrong], None)
        assert wrong not in str(caught.value)
    with pytest.raises(UnusableTarget, match="No such file"):
        webhook.read_keys([], tmp_path / "absent")
