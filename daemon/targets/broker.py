"""The `broker` target: runs become messages, confirmed by the broker, for workers of one's own.

kombu blocks, so each target has threads of its own, one for each attempt under way, and each thread
its connection: a broker that hangs holds nobody else's.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from daemon.domain.run.attempt import Attempt
from daemon.domain.run.outcome import Accepted, Delivered, Outcome, OutcomeUnknown, Retry
from daemon.domain.run.target import Target
from daemon.targets.errors import UnusableTarget
from daemon.targets.message import message
from daemon.targets.redaction import describe_error, redactor

CLOSE_S = 1.0
"""How long closing is waited for."""
IDLE_S = 20.0
"""A connection that was not used for so long is opened anew: the broker may have let it go."""


@dataclass(frozen=True)
class BrokerOptions:
    """What a broker is told; seconds. ``task``: messages are calls of that Celery task."""

    broker_url: str
    queue: str = "campaignd"
    task: str = ""
    finishes_later: bool = True
    lease: float = 300.0
    timeout: float = 30.0
    concurrency: int = 4


class BrokerTarget(Target):
    """Publishes each run."""

    waits = True

    def __init__(self, settings: BrokerOptions) -> None:
        # Imported here: who has no broker does without its libraries.
        from kombu import Connection

        self._settings = settings
        self._hide = redactor(settings.broker_url)
        try:
            Connection(settings.broker_url).transport_cls  # noqa: B018 - it raises
        except Exception as error:
            raise UnusableTarget(f"broker_url: {type(error).__name__}: {error}") from error
        self._threads = ThreadPoolExecutor(settings.concurrency, thread_name_prefix="broker")
        self._local = threading.local()
        self._open: list[_Publisher] = []

    async def deliver(self, work: Attempt) -> Outcome:
        """Publish the run and wait for the broker's word."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._settings.timeout * 2 + 1):
                return await loop.run_in_executor(self._threads, self._publish, work)
        except TimeoutError:
            return OutcomeUnknown(f"the broker did not confirm within {self._settings.timeout:g} s")

    async def close(self) -> None:
        """Let the threads end, and their connections after them; what hangs is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        closing = threading.Thread(target=self._close, daemon=True, name="broker close")
        closing.start()
        deadline = time.monotonic() + CLOSE_S
        while closing.is_alive() and time.monotonic() < deadline:  # noqa: ASYNC110 - a thread
            await asyncio.sleep(0.01)

    def _close(self) -> None:
        self._threads.shutdown(wait=True)
        for publisher in self._open:
            publisher.close()

    def _publish(self, work: Attempt) -> Outcome:
        settings = self._settings
        try:
            publisher = self._publisher()
        except Exception as error:
            return Retry(describe_error(error, self._hide))
        try:
            if not publisher.publish(work):
                return Retry(f"no queue takes messages for {settings.queue!r}")
        except Exception as error:
            self._let_go(publisher)
            return OutcomeUnknown(describe_error(error, self._hide))
        return Accepted(settings.lease) if settings.finishes_later else Delivered()

    def _publisher(self) -> _Publisher:
        publisher: _Publisher | None = getattr(self._local, "publisher", None)
        if publisher is not None and publisher.is_stale:
            self._let_go(publisher)
            publisher = None
        if publisher is None:
            publisher = self._local.publisher = _Publisher(self._settings)
            self._open.append(publisher)
        return publisher

    def _let_go(self, publisher: _Publisher) -> None:
        self._local.publisher = None
        self._open.remove(publisher)
        publisher.close()


class _Publisher:
    """One connection, used by one thread."""

    def __init__(self, settings: BrokerOptions) -> None:
        from kombu import Connection, Exchange, Queue

        self._settings = settings
        self._returned = False
        self._used_at = time.monotonic()
        self._connection = Connection(
            settings.broker_url,
            connect_timeout=settings.timeout,
            heartbeat=0,
            transport_options=_options(settings),
        )
        try:
            self._connection.ensure_connection(max_retries=1, timeout=settings.timeout)
            channel = self._connection.default_channel
            exchange = Exchange(settings.queue, type="direct", durable=True)
            queue = Queue(settings.queue, exchange, routing_key=settings.queue, durable=True)
            queue(channel).declare()
            self._is_amqp = self._connection.transport.driver_type == "amqp"
            returning = {"on_return": self._on_return} if self._is_amqp else {}
            self._producer = self._connection.Producer(
                channel=channel, exchange=exchange, **returning
            )
        except BaseException:
            self.close()
            raise

    @property
    def is_stale(self) -> bool:
        """Whether the broker may have let the connection go meanwhile."""
        return time.monotonic() - self._used_at > IDLE_S

    def publish(self, work: Attempt) -> bool:
        """Whether a queue took it. Raises when the broker did not confirm."""
        settings = self._settings
        self._returned = False
        body, headers = _celery_call(work, settings.task) if settings.task else _plain(work)
        self._producer.publish(
            json.dumps(body),
            content_type="application/json",
            content_encoding="utf-8",
            routing_key=settings.queue,
            headers=headers,
            delivery_mode=2,
            mandatory=self._is_amqp,
            message_id=str(work.run_id),
            correlation_id=str(work.run_id),
            type="campaign.run",
            retry=False,
            timeout=settings.timeout,
            **({"confirm_timeout": settings.timeout} if self._is_amqp else {}),
        )
        self._used_at = time.monotonic()
        return not self._returned

    def close(self) -> None:
        """Let the connection go, whatever state it is in."""
        try:
            self._connection.release()
        except Exception:
            self._connection.collect()

    def _on_return(self, *_args: Any, **_fields: Any) -> None:
        self._returned = True


def _options(settings: BrokerOptions) -> dict[str, Any]:
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


def _plain(work: Attempt) -> tuple[Any, dict[str, str]]:
    return message(work), {"campaignd-attempt": str(work.attempt)}


def _celery_call(work: Attempt, task: str) -> tuple[Any, dict[str, Any]]:
    """Celery's message protocol, version 2: the task is called with the message's ``data``."""
    run_id = str(work.run_id)
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
    return [[message(work)["data"]], {}, embedded], headers
