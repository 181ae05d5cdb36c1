"""The `broker` target by kombu: publishes each run as a message that the broker confirms.

kombu blocks, so each target has its own threads, one for each attempt in flight, and each thread
has its own connection. A broker that hangs delays no other target.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from daemon.domain.run.attempt import Attempt
from daemon.domain.run.outcome import (
    Accepted,
    Delivered,
    NotStarted,
    Outcome,
    OutcomeUnknown,
    Retry,
)
from daemon.domain.run.target import Target
from daemon.targets import UnusableTarget
from daemon.targets.broker_refusal import refuses_every_run
from daemon.targets.message import CONTENT_TYPES, message, message_as, message_type
from daemon.targets.redaction import describe_error, redactor
from daemon.targets.shortage import is_resource_shortage

CHECK_S = 5.0
"""Seconds that `check` waits for the broker at most."""
CLOSE_S = 1.0
"""Seconds that `close` waits for the threads."""
IDLE_S = 20.0
"""Seconds without use after which a connection is replaced; the broker may have closed it."""


@dataclass(frozen=True)
class BrokerOptions:
    """The options of a broker target; durations are in seconds.

    Args:
        queue_arguments: arguments of the queue if it does not exist, such as ``x-queue-type``.
        task: a Celery task; if set, messages are calls of that task.
        verify_tls: whether a broker's certificate and its host name are verified.
        ca_file: the trusted authorities; None: those of the system.
        format: the format of plain messages, one of `message.CONTENT_TYPES`.
        finishes: ``later`` if a worker completes the run through the API, else ``at_once``.
    """

    broker_url: str
    queue: str = "campaignd"
    queue_arguments: Mapping[str, Any] = field(default_factory=dict)
    task: str = ""
    format: str = "campaignd"
    finishes: str = "later"
    lease: float = 300.0
    timeout: float = 30.0
    concurrency: int = 4
    verify_tls: bool = True
    ca_file: Path | None = None


class BrokerTarget(Target):
    """Publishes each run to a durable queue."""

    waits = True

    def __init__(self, settings: BrokerOptions) -> None:
        # Imported here, because other targets do not need the library.
        from daemon.targets.broker_tls import check_tls

        self._settings = settings
        self._hide = redactor(settings.broker_url)
        check_tls(settings.broker_url, verify=settings.verify_tls, ca_file=settings.ca_file)
        self._threads = ThreadPoolExecutor(settings.concurrency, thread_name_prefix="broker")
        self._local = threading.local()
        self._open: list[_Publisher] = []

    async def deliver(self, attempt: Attempt) -> Outcome:
        """Publish the run and wait for the broker's confirmation."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._settings.timeout * 2 + 1):
                return await loop.run_in_executor(self._threads, self._publish, attempt)
        except RuntimeError as error:  # no thread to publish from
            if not is_resource_shortage(error):
                raise
            return NotStarted(str(error))
        except TimeoutError:
            return OutcomeUnknown(f"the broker did not confirm within {self._settings.timeout:g} s")

    async def check(self) -> None:
        """Connect to the broker and look for the queue, which may be missing.

        Raises:
            UnusableTarget: the broker does not answer, or refuses the connection or the queue.
        """
        settings = replace(self._settings, timeout=min(self._settings.timeout, CHECK_S))
        try:
            await asyncio.to_thread(_check_queue, settings)
        except Exception as error:
            raise UnusableTarget(describe_error(error, self._hide)) from error

    async def close(self) -> None:
        """End the threads, then their connections, without waiting for one that hangs."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        closing = threading.Thread(target=self._close_publishers, daemon=True, name="broker close")
        closing.start()
        deadline = time.monotonic() + CLOSE_S
        while closing.is_alive() and time.monotonic() < deadline:  # noqa: ASYNC110 - a thread
            await asyncio.sleep(0.01)

    def _close_publishers(self) -> None:
        self._threads.shutdown(wait=True)
        for publisher in self._open:
            publisher.close()

    def _publish(self, attempt: Attempt) -> Outcome:
        settings = self._settings
        try:
            publisher = self._publisher_of_thread()
        except Exception as error:
            reason = describe_error(error, self._hide)
            is_futile = is_resource_shortage(error) or refuses_every_run(error)
            return NotStarted(reason) if is_futile else Retry(reason)
        try:
            if not publisher.publish(attempt):
                return Retry(f"no queue accepts messages for {settings.queue!r}")
        except Exception as error:
            self._drop_publisher(publisher)
            reason = describe_error(error, self._hide)
            is_futile = refuses_every_run(error, publishing=True)
            return NotStarted(reason) if is_futile else OutcomeUnknown(reason)
        return Accepted(settings.lease) if settings.finishes == "later" else Delivered()

    def _publisher_of_thread(self) -> _Publisher:
        publisher: _Publisher | None = getattr(self._local, "publisher", None)
        if publisher is not None and publisher.is_stale:
            self._drop_publisher(publisher)
            publisher = None
        if publisher is None:
            publisher = self._local.publisher = _Publisher(self._settings)
            self._open.append(publisher)
        return publisher

    def _drop_publisher(self, publisher: _Publisher) -> None:
        self._local.publisher = None
        self._open.remove(publisher)
        publisher.close()


class _Publisher:
    """One connection to the broker, used by one thread."""

    def __init__(self, settings: BrokerOptions) -> None:
        from kombu import Exchange

        self._settings = settings
        self._returned = False
        self._used_at = time.monotonic()
        self._connection = _open_connection(settings)
        try:
            channel = _open_channel_with_queue(self._connection, settings)
            self._is_amqp = self._connection.transport.driver_type == "amqp"
            returning = {"on_return": self._note_returned} if self._is_amqp else {}
            self._producer = self._connection.Producer(
                channel=channel, exchange=Exchange(""), **returning
            )
        except BaseException:
            self.close()
            raise

    @property
    def is_stale(self) -> bool:
        """Whether the broker may have closed the connection since its last use."""
        return time.monotonic() - self._used_at > IDLE_S

    def publish(self, attempt: Attempt) -> bool:
        """Publish one message and return whether a queue accepted it.

        Raises if the broker does not confirm.
        """
        settings = self._settings
        self._returned = False
        if settings.task:
            body, headers = _celery_call(attempt, settings.task)
        else:
            body = message_as(settings.format, attempt)
            headers = {"campaignd-attempt": str(attempt.number)}
        self._producer.publish(
            json.dumps(body),
            content_type=CONTENT_TYPES[settings.format],
            content_encoding="utf-8",
            routing_key=settings.queue,
            headers=headers,
            delivery_mode=2,
            mandatory=self._is_amqp,
            message_id=str(attempt.run_id),
            correlation_id=str(attempt.run_id),
            type=message_type(attempt),
            retry=False,
            timeout=settings.timeout,
            **({"confirm_timeout": settings.timeout} if self._is_amqp else {}),
        )
        self._used_at = time.monotonic()
        return not self._returned

    def close(self) -> None:
        """Close the connection, whatever state it is in."""
        _close_connection(self._connection)

    def _note_returned(self, *_args: Any, **_fields: Any) -> None:
        self._returned = True


def _open_connection(settings: BrokerOptions) -> Any:
    """Return an open connection."""
    from daemon.targets.broker_tls import BrokerConnection

    connection = BrokerConnection(
        settings.broker_url,
        verify_tls=settings.verify_tls,
        ca_file=settings.ca_file,
        connect_timeout=settings.timeout,
        heartbeat=0,
        transport_options=_transport_options(settings),
    )
    try:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=settings.timeout)
    except BaseException:
        _close_connection(connection)
        raise
    return connection


def _close_connection(connection: Any) -> None:
    try:
        connection.release()
    except Exception:
        connection.collect()


def _open_channel_with_queue(connection: Any, settings: BrokerOptions) -> Any:
    """Create the queue if it does not exist, and return a channel."""
    from kombu import Queue

    channel = connection.channel()
    if _has_queue(connection, channel, settings):
        return channel
    channel = connection.channel()  # the answer has closed the former one
    arguments = dict(settings.queue_arguments)
    Queue(settings.queue, durable=True, queue_arguments=arguments)(channel).queue_declare()
    return channel


def _has_queue(connection: Any, channel: Any, settings: BrokerOptions) -> bool:
    """Return whether the queue exists. It keeps its type and arguments, from whichever program."""
    from kombu import Queue

    try:
        Queue(settings.queue)(channel).queue_declare(passive=True)
    except connection.channel_errors as error:
        if str(getattr(error, "reply_code", "")) != "404":
            raise
        return False
    return True


def _check_queue(settings: BrokerOptions) -> None:
    connection = _open_connection(settings)
    try:
        _has_queue(connection, connection.channel(), settings)
    finally:
        _close_connection(connection)


def _transport_options(settings: BrokerOptions) -> dict[str, Any]:
    if settings.broker_url.startswith("amqp"):
        return {
            "confirm_publish": True,
            "read_timeout": settings.timeout,
            "write_timeout": settings.timeout,
        }
    if settings.broker_url.startswith(("redis", "rediss")):
        return {
            "socket_timeout": settings.timeout,
            "socket_connect_timeout": settings.timeout,
            "retry_on_timeout": False,
        }
    return {}


def _celery_call(attempt: Attempt, task: str) -> tuple[Any, dict[str, Any]]:
    """Return a call of the task with the message's ``data``, in Celery's protocol 2."""
    run_id = str(attempt.run_id)
    headers = {
        "lang": "py",
        "task": task,
        "id": run_id,
        "root_id": run_id,
        "parent_id": None,
        "group": None,
        "argsrepr": "()",
        "kwargsrepr": "{}",
        "origin": "campaignd",
        "retries": 0,
        "eta": None,
        "expires": None,
        "timelimit": [None, None],
        "ignore_result": True,
    }
    embedded = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    return [[message(attempt)["data"]], {}, embedded], headers
