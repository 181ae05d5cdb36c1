"""The broker target against a real NATS server with JetStream."""

from __future__ import annotations

import asyncio
import json
import socket
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from nats.js.client import JetStreamContext
from nats.js.errors import FetchTimeoutError

from daemon.domain.run.outcome import (
    Accepted,
    Delivered,
    NotStarted,
    OutcomeUnknown,
    Reject,
    Retry,
)
from daemon.targets import UnusableTarget
from daemon.targets.broker import BrokerOptions
from daemon.targets.broker_nats import NatsTarget
from tests.support.brokers import start_nats, url_of_broker
from tests.support.builders import new_attempt
from tests.support.certificates import make_certificate
from tests.support.servers import refusing_port


@pytest.fixture
async def jetstream() -> AsyncIterator[JetStreamContext]:
    client = await nats.connect(url_of_broker("nats"))
    yield client.jetstream()
    await client.close()


@pytest.fixture
async def subject(jetstream: JetStreamContext) -> AsyncIterator[str]:
    """A subject with a stream for one test."""
    name = f"test-{uuid.uuid4().hex}"
    await jetstream.add_stream(name=name, subjects=[f"{name}.runs"])
    yield f"{name}.runs"
    await jetstream.delete_stream(name)


async def read(jetstream: JetStreamContext, subject: str) -> list[nats.aio.msg.Msg]:
    """Return every message of a subject."""
    reader = await jetstream.pull_subscribe(subject, durable=None)
    found = []
    while True:
        try:
            found += await reader.fetch(100, timeout=0.3)
        except (FetchTimeoutError, nats.errors.TimeoutError):
            return found


@pytest.mark.machine
async def test_messages(jetstream: JetStreamContext, subject: str) -> None:
    """Fifty concurrent runs: each is acknowledged, and in the stream once with its id."""
    target = NatsTarget(BrokerOptions(url_of_broker("nats"), subject, lease=90))
    outcomes = await asyncio.gather(*(target.deliver(new_attempt(number)) for number in range(50)))
    assert outcomes == [Accepted(90)] * 50
    found = await read(jetstream, subject)
    bodies = [json.loads(message.data) for message in found]
    assert {body["data"]["run_id"] for body in bodies} == {
        str(new_attempt(number).run_id) for number in range(50)
    }
    assert len(bodies) == 50
    assert bodies[0]["data"]["payload"] == {"segment": 12, "text": "Grüße"}
    assert found[0].headers["campaignd-attempt"] == "1"
    assert found[0].headers["content-type"] == "application/json"
    await target.close()


@pytest.mark.machine
async def test_the_stream_drops_a_repeat(jetstream: JetStreamContext, subject: str) -> None:
    """An attempt whose acknowledgement was lost is made again, and stored once."""
    target = NatsTarget(BrokerOptions(url_of_broker("nats"), subject, finishes="at_once"))
    first, again = new_attempt(), new_attempt()._replace(number=2)
    assert [await target.deliver(first), await target.deliver(again)] == [Delivered()] * 2
    (message,) = await read(jetstream, subject)
    assert message.headers["Nats-Msg-Id"] == str(first.run_id)
    await target.close()


@pytest.mark.machine
async def test_a_run_that_a_worker_finishes_has_a_message_of_each_attempt(
    jetstream: JetStreamContext, subject: str
) -> None:
    """A worker asked for a retry, or lost its lease: only the new attempt can be finished."""
    target = NatsTarget(BrokerOptions(url_of_broker("nats"), subject, lease=90))
    for attempt in (new_attempt(), new_attempt(), new_attempt()._replace(number=2)):
        assert await target.deliver(attempt) == Accepted(90)
    bodies = [json.loads(message.data) for message in await read(jetstream, subject)]
    assert [body["data"]["attempt"] for body in bodies] == [1, 2]
    await target.close()


@pytest.mark.machine
async def test_a_cloud_event(jetstream: JetStreamContext, subject: str) -> None:
    target = NatsTarget(BrokerOptions(url_of_broker("nats"), subject, format="cloudevents"))
    assert isinstance(await target.deliver(new_attempt()), Accepted)
    (message,) = await read(jetstream, subject)
    event = from_http_event(HTTPMessage(dict(message.headers), message.data))
    assert event.get_id() == str(new_attempt().run_id)
    await target.close()


@pytest.mark.machine
async def test_a_subject_without_a_stream() -> None:
    """No attempt is used up, and `check` reports it."""
    target = NatsTarget(BrokerOptions(url_of_broker("nats"), f"test-{uuid.uuid4().hex}"))
    outcome = await target.deliver(new_attempt())
    assert isinstance(outcome, NotStarted)
    assert "no stream takes messages" in outcome.reason
    with pytest.raises(UnusableTarget, match="no stream takes messages"):
        await target.check()
    await target.close()


@pytest.mark.machine
async def test_a_check_changes_nothing(jetstream: JetStreamContext, subject: str) -> None:
    target = NatsTarget(BrokerOptions(url_of_broker("nats"), subject))
    await target.check()
    assert await read(jetstream, subject) == []
    await target.close()


@pytest.mark.machine
async def test_a_stream_that_is_full(jetstream: JetStreamContext) -> None:
    """JetStream refuses the message, so the run is retried."""
    name = f"test-{uuid.uuid4().hex}"
    await jetstream.add_stream(name=name, subjects=[name], max_msgs=1, discard="new")
    target = NatsTarget(BrokerOptions(url_of_broker("nats"), name))
    try:
        assert isinstance(await target.deliver(new_attempt()), Accepted)
        outcome = await target.deliver(new_attempt(1))
        assert outcome == Retry("JetStream: maximum messages exceeded")
        large = new_attempt(2, payload={"text": "x" * 2_000_000})
        assert isinstance(await target.deliver(large), Reject)
    finally:
        await jetstream.delete_stream(name)
        await target.close()


@pytest.mark.machine
async def test_users_whom_the_server_refuses(tmp_path: Path) -> None:
    """A wrong password, and a user who may not publish: at once, and no attempt is used up."""
    users = tmp_path / "users.conf"
    users.write_text(
        "authorization { users = ["
        '{ user: "reader", password: "secretpw", permissions: { publish: "other" } } ] }'
    )
    server = start_nats("-c", str(users)).removeprefix("nats://")
    for user in ("reader:wrongpw", "reader:secretpw"):
        target = NatsTarget(BrokerOptions(f"nats://{user}@{server}", "runs", timeout=60))
        outcome = await target.deliver(new_attempt())
        assert isinstance(outcome, NotStarted), outcome
        assert user.partition(":")[2] not in str(outcome)
        await target.close()


@pytest.mark.machine
async def test_a_lost_connection_is_opened_anew(subject: str) -> None:
    """An attempt may be lost with its connection; the next one succeeds."""
    target = NatsTarget(BrokerOptions(url_of_broker("nats"), subject, timeout=60))
    assert isinstance(await target.deliver(new_attempt()), Accepted)
    assert target._connection is not None
    target._connection._client._transport._io_writer.transport.abort()
    outcomes = [await target.deliver(new_attempt(1)) for _ in range(2)]
    assert isinstance(outcomes[0], Accepted | OutcomeUnknown)
    assert isinstance(outcomes[1], Accepted)
    await target.close()


@pytest.mark.machine
async def test_the_second_of_two_servers(subject: str) -> None:
    with refusing_port() as port:
        url = f"nats://127.0.0.1:{port},{url_of_broker('nats')}"
        target = NatsTarget(BrokerOptions(url, subject))
        assert isinstance(await target.deliver(new_attempt()), Accepted)
    await target.close()


@pytest.mark.machine
async def test_tls(tmp_path: Path) -> None:
    """A certificate of an unknown authority is refused; with `ca_file` the server is reached."""
    certificate, key = make_certificate(tmp_path)
    options = ("--tls", "--tlscert", str(certificate), "--tlskey", str(key))
    url = start_nats(*options).replace("nats://", "tls://")
    target = NatsTarget(BrokerOptions(url))
    outcome = await target.deliver(new_attempt())
    assert isinstance(outcome, Retry)
    assert "certificate verify failed" in outcome.reason
    await target.close()
    target = NatsTarget(BrokerOptions(url, ca_file=certificate))
    assert isinstance(await target.deliver(new_attempt()), NotStarted)  # it has no stream
    await target.close()


async def test_nothing_is_sent_to_a_server_that_does_not_want_tls() -> None:
    """A server in the middle could otherwise read the password."""
    received = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.9.0","max_payload":1048576}\r\n')
        received.append(await reader.read())
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        target = NatsTarget(BrokerOptions(f"tls://user:secretpw@127.0.0.1:{port}", timeout=5))
        outcome = await target.deliver(new_attempt())
        await target.close()
        assert isinstance(outcome, Retry)
        assert "secure connection" in outcome.reason
    assert b"".join(received) == b""


async def test_no_server_listens() -> None:
    """The run is certainly not delivered, so it is retried; `check` hides the password."""
    with refusing_port() as port:
        target = NatsTarget(BrokerOptions(f"nats://user:secretpw@127.0.0.1:{port}", timeout=5))
        outcome = await target.deliver(new_attempt())
        assert isinstance(outcome, Retry), outcome
        with pytest.raises(UnusableTarget, match="refused") as caught:
            await target.check()
    assert "secretpw" not in f"{outcome} {caught.value}"
    await target.close()


async def test_a_silent_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"nats://127.0.0.1:{listening.getsockname()[1]}"
        target = NatsTarget(BrokerOptions(url, timeout=0.5))
        outcome = await target.deliver(new_attempt())
    assert isinstance(outcome, Retry), outcome
    await target.close()


def test_a_file_of_authorities_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UnusableTarget, match="ca_file"):
        NatsTarget(BrokerOptions("tls://localhost", ca_file=tmp_path / "missing.pem"))
