"""The broker target against a real RabbitMQ and a real Redis."""

from __future__ import annotations

import asyncio
import json
import socket
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from cloudevents.core.bindings.http import HTTPMessage, from_http_event

from daemon.domain.run.outcome import Accepted, Delivered, NotStarted, OutcomeUnknown, Retry
from daemon.targets import UnusableTarget
from daemon.targets.broker import BrokerOptions, BrokerTarget
from tests.support.brokers import KINDS, url_of_broker
from tests.support.builders import new_attempt
from tests.support.servers import refusing_port


@pytest.fixture(params=KINDS)
def broker_url(request: pytest.FixtureRequest) -> str:
    return url_of_broker(request.param)


@pytest.fixture
def queue(broker_url: str) -> Iterator[str]:
    """A queue for one test."""
    from kombu import Connection

    name = f"test-{uuid.uuid4().hex}"
    yield name
    with Connection(broker_url) as connection:
        channel = connection.default_channel
        channel.queue_delete(name)
        if connection.transport.driver_type == "amqp":
            channel.exchange_delete(name)


def read(broker_url: str, name: str) -> list[tuple[Any, dict[str, Any], dict[str, Any]]]:
    """Return every message in the queue: body, headers, properties."""
    from kombu import Connection

    found = []
    with Connection(broker_url) as connection, connection.SimpleQueue(name) as simple:
        while True:
            try:
                message = simple.get(timeout=0.3)
            except simple.Empty:
                return found
            body = message.payload
            found.append((body, dict(message.headers), dict(message.properties)))
            message.ack()


@pytest.mark.machine
async def test_messages(broker_url: str, queue: str) -> None:
    """Fifty concurrent runs: each is confirmed, and in the queue once with its id."""
    target = BrokerTarget(BrokerOptions(broker_url, queue, lease=90, concurrency=4))
    outcomes = await asyncio.gather(*(target.deliver(new_attempt(number)) for number in range(50)))
    assert outcomes == [Accepted(90)] * 50
    found = await asyncio.to_thread(read, broker_url, queue)
    assert {body["data"]["run_id"] for body, _, _ in found} == {
        str(new_attempt(number).run_id) for number in range(50)
    }
    body, headers, properties = found[0]
    assert body["type"] == "campaign.run"
    assert body["data"]["payload"] == {"segment": 12, "text": "Grüße"}
    assert headers["campaignd-attempt"] == "1"
    assert properties["correlation_id"] == body["data"]["run_id"]
    assert properties["delivery_mode"] == 2
    await target.close()


@pytest.mark.machine
async def test_done_at_once(broker_url: str, queue: str) -> None:
    """The run is complete when the broker has the message."""
    target = BrokerTarget(BrokerOptions(broker_url, queue, finishes="at_once"))
    assert await target.deliver(new_attempt()) == Delivered()
    await target.close()


@pytest.mark.machine
async def test_a_cloud_event(broker_url: str, queue: str) -> None:
    """The body is a structured CloudEvent, of that media type."""
    target = BrokerTarget(BrokerOptions(broker_url, queue, format="cloudevents"))
    assert isinstance(await target.deliver(new_attempt()), Accepted)
    ((body, _, _),) = await asyncio.to_thread(read, broker_url, queue)
    event = from_http_event(
        HTTPMessage({"Content-Type": "application/cloudevents+json"}, body.encode())
    )
    assert event.get_id() == str(new_attempt().run_id)
    await target.close()


@pytest.mark.machine
async def test_a_celery_call(broker_url: str, queue: str) -> None:
    """The message is a call in Celery's protocol 2."""
    target = BrokerTarget(BrokerOptions(broker_url, queue, task="shop.run"))
    assert isinstance(await target.deliver(new_attempt()), Accepted)
    ((body, headers, properties),) = await asyncio.to_thread(read, broker_url, queue)
    (data,), kwargs, _ = body
    assert (data["campaign_id"], kwargs) == (7, {})
    assert (headers["task"], headers["id"]) == ("shop.run", str(new_attempt().run_id))
    assert properties["correlation_id"] == str(new_attempt().run_id)
    await target.close()


def wrong_password(url: str) -> str:
    """Return the URL of a broker with a user that the broker does not know."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://stranger:wrong@{rest.rpartition('@')[2]}"


@pytest.mark.machine
async def test_a_broker_that_knows_no_such_user(broker_url: str, queue: str) -> None:
    """No attempt is used up, and `check` reports the refusal, without the password."""
    target = BrokerTarget(BrokerOptions(wrong_password(broker_url), queue))
    outcome = await target.deliver(new_attempt())
    assert isinstance(outcome, NotStarted)
    with pytest.raises(UnusableTarget) as caught:
        await target.check()
    assert "stranger" not in f"{outcome} {caught.value}"
    await target.close()


@pytest.mark.machine
async def test_a_virtual_host_that_does_not_exist(queue: str) -> None:
    target = BrokerTarget(BrokerOptions(url_of_broker("rabbitmq") + "missing", queue))
    assert isinstance(await target.deliver(new_attempt()), NotStarted)
    with pytest.raises(UnusableTarget, match="vhost"):
        await target.check()
    await target.close()


@pytest.mark.machine
async def test_a_queue_of_the_wrong_kind() -> None:
    """In Redis, a key of another program may have the queue's name."""
    name, url = f"test-{uuid.uuid4().hex}", url_of_broker("redis")
    with redis.Redis.from_url(url) as client:
        client.set(name, "text")
        target = BrokerTarget(BrokerOptions(url, name))
        try:
            assert isinstance(await target.deliver(new_attempt()), NotStarted)
            with pytest.raises(UnusableTarget, match="WRONGTYPE"):
                await target.check()
        finally:
            client.delete(name)
            await target.close()


@pytest.mark.machine
async def test_a_check_changes_nothing(broker_url: str, queue: str) -> None:
    """A missing queue is no fault, and is not created."""
    from kombu import Connection, Queue

    target = BrokerTarget(BrokerOptions(broker_url, queue))
    await target.check()
    with Connection(broker_url) as connection, pytest.raises(connection.channel_errors):
        Queue(queue)(connection.channel()).queue_declare(passive=True)
    await target.close()


async def test_a_check_of_a_broker_that_does_not_answer() -> None:
    with refusing_port() as port:
        target = BrokerTarget(BrokerOptions(f"amqp://u:secret@127.0.0.1:{port}//"))
        with pytest.raises(UnusableTarget, match="refused") as caught:
            await target.check()
    assert "secret" not in str(caught.value)
    await target.close()


@pytest.mark.machine
async def test_a_lost_connection_is_opened_anew(broker_url: str, queue: str) -> None:
    """An attempt may be lost with its connection; the next one succeeds."""
    target = BrokerTarget(BrokerOptions(broker_url, queue, concurrency=1, timeout=3))
    assert isinstance(await target.deliver(new_attempt()), Accepted)

    def cut() -> None:
        connection = target._local.publisher._connection
        transport = getattr(connection.connection, "transport", None)
        if transport is not None and hasattr(transport, "sock"):
            transport.sock.close()
        else:
            connection.default_channel.client.connection_pool.disconnect()

    await asyncio.get_running_loop().run_in_executor(target._threads, cut)
    outcomes = [await target.deliver(new_attempt(1)) for _ in range(2)]
    assert isinstance(outcomes[0], Accepted | OutcomeUnknown)
    assert isinstance(outcomes[1], Accepted)
    await target.close()


@pytest.mark.machine
async def test_a_message_that_no_queue_accepts(queue: str) -> None:
    """RabbitMQ returns the message, so the run is retried and not counted as delivered."""
    from kombu import Connection

    url = url_of_broker("rabbitmq")
    target = BrokerTarget(BrokerOptions(url, queue, concurrency=1))
    assert isinstance(await target.deliver(new_attempt()), Accepted)

    def remove() -> None:
        with Connection(url) as connection:
            connection.default_channel.queue_delete(queue)

    await asyncio.to_thread(remove)
    outcome = await target.deliver(new_attempt(1))
    assert outcome == Retry(f"no queue accepts messages for {queue!r}")
    await target.close()


def declare(url: str, name: str, arguments: dict[str, Any]) -> None:
    from kombu import Connection, Queue

    with Connection(url) as connection:
        Queue(name, durable=True, queue_arguments=arguments)(connection).queue_declare()


@pytest.mark.machine
@pytest.mark.parametrize(
    "arguments", [{"x-queue-type": "quorum"}, {"x-message-ttl": 60_000}, {"x-max-priority": 5}]
)
async def test_an_existing_queue_with_arguments(queue: str, arguments: dict[str, Any]) -> None:
    """The target uses the queue as the workers declared it, and its own arguments do not apply."""
    url = url_of_broker("rabbitmq")
    await asyncio.to_thread(declare, url, queue, arguments)
    target = BrokerTarget(BrokerOptions(url, queue, queue_arguments={"x-max-length": 9}))
    assert isinstance(await target.deliver(new_attempt()), Accepted)
    assert len(await asyncio.to_thread(read_existing, url, queue)) == 1
    await target.close()


@pytest.mark.machine
async def test_a_missing_queue_gets_the_arguments(queue: str) -> None:
    """A worker that declares the same arguments finds an equal queue."""
    url, arguments = url_of_broker("rabbitmq"), {"x-queue-type": "quorum", "x-max-length": 9}
    target = BrokerTarget(BrokerOptions(url, queue, queue_arguments=arguments))
    assert isinstance(await target.deliver(new_attempt()), Accepted)
    await asyncio.to_thread(declare, url, queue, arguments)
    with pytest.raises(Exception, match="PRECONDITION_FAILED"):
        await asyncio.to_thread(declare, url, queue, {})
    await target.close()


def read_existing(url: str, name: str) -> list[Any]:
    """Return the messages of a queue without declaring it."""
    from kombu import Connection

    found = []
    with Connection(url) as connection:
        channel = connection.channel()
        while (message := channel.basic_get(name, no_ack=True)) is not None:
            found.append(message)
    return found


@pytest.mark.parametrize("scheme", ["amqp", "redis"])
async def test_no_broker_listens(scheme: str) -> None:
    """The run is certainly not delivered, so it is retried."""
    with refusing_port() as port:
        target = BrokerTarget(BrokerOptions(f"{scheme}://127.0.0.1:{port}/", timeout=2))
        outcome = await target.deliver(new_attempt())
    assert isinstance(outcome, Retry), outcome
    await target.close()


async def test_a_silent_server() -> None:
    """A silent server occupies one thread until the timeout."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        url = f"amqp://guest:guest@127.0.0.1:{listening.getsockname()[1]}//"
        target = BrokerTarget(BrokerOptions(url, timeout=0.5))
        outcome = await target.deliver(new_attempt())
    assert isinstance(outcome, Retry | OutcomeUnknown), outcome
    await target.close()


def test_an_unknown_kind_of_broker() -> None:
    """The error is raised when the target is built, and hides the password."""
    with pytest.raises(UnusableTarget) as caught:
        BrokerTarget(BrokerOptions("carrier-pigeon://user:hunter2@coop/"))
    assert "hunter2" not in json.dumps(str(caught.value))
