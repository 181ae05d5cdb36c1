"""The `broker` target on NATS JetStream: publishes each run to a stream that acknowledges it.

The client runs on the daemon's event loop, and all attempts of a target share one connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from nats.errors import MaxPayloadError, SecureConnWantedError
from nats.js.api import Header
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from daemon.domain.run.attempt import Attempt
from daemon.domain.run.outcome import (
    Accepted,
    Delivered,
    NotStarted,
    Outcome,
    OutcomeUnknown,
    Reject,
    Retry,
)
from daemon.domain.run.target import Target
from daemon.targets import UnusableTarget
from daemon.targets.broker import CHECK_S, CLOSE_S, BrokerOptions
from daemon.targets.message import CONTENT_TYPES, encoded_message
from daemon.targets.redaction import describe_error, redactor
from daemon.targets.shortage import is_resource_shortage

PING_S = 10
"""Seconds between pings; a server that misses two of them is lost."""
_REFUSALS = ("authorization", "permissions violation", "authentication", "account")
"""Words of a server that takes nothing from this user."""


class NatsTarget(Target):
    """Publishes each run to a subject of a stream."""

    waits = True

    def __init__(self, settings: BrokerOptions) -> None:
        self._settings = settings
        self._hide = redactor(";".join(_servers_of(settings.broker_url)))
        self._tls = _tls_context(settings.verify_tls, settings.ca_file)
        self._connection: _Connection | None = None
        self._opening = asyncio.Lock()

    async def deliver(self, attempt: Attempt) -> Outcome:
        """Publish the run and wait for the stream's acknowledgement."""
        settings = self._settings
        try:
            connection = await self._open_connection()
        except Exception as error:
            is_futile = is_resource_shortage(error) or _refuses_every_run(error)
            reason = self._describe(error)
            return NotStarted(reason) if is_futile else Retry(reason)
        try:
            # A repeat that the stream has already is acknowledged as a duplicate: it is delivered.
            await connection.publish(attempt, settings)
        except NoStreamResponseError:
            return NotStarted(f"no stream takes messages for {settings.queue!r}")
        except MaxPayloadError as error:
            return Reject(self._describe(error))
        except APIError as error:  # the server has not stored the message
            return Retry(f"JetStream: {self._hide(str(error.description))}")
        except Exception as error:
            await self._drop_connection(connection)
            reason = self._describe(error)
            return NotStarted(reason) if _refuses_every_run(error) else OutcomeUnknown(reason)
        return Accepted(settings.lease) if settings.finishes == "later" else Delivered()

    async def check(self) -> None:
        """Connect to the server and look for the stream, if the user may.

        Raises:
            UnusableTarget: no server answers, it refuses the user, or no stream has the subject.
        """
        subject, connection = self._settings.queue, _Connection()
        try:
            async with asyncio.timeout(min(self._settings.timeout, CHECK_S)):
                await connection.open(self._settings, self._tls)
                await connection.find_stream(subject)
        except NotFoundError as error:
            raise UnusableTarget(f"no stream takes messages for {subject!r}") from error
        except Exception as error:
            raise UnusableTarget(self._describe(error)) from error
        finally:
            await connection.close()

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._drop_connection(self._connection)

    async def _open_connection(self) -> _Connection:
        async with self._opening:
            connection = self._connection
            if connection is not None and connection.is_usable:
                return connection
            if connection is not None:
                await self._drop_connection(connection)
            connection = _Connection()
            try:
                async with asyncio.timeout(self._settings.timeout):
                    await connection.open(self._settings, self._tls)
            except BaseException:
                await connection.close()
                raise
            self._connection = connection
            return connection

    async def _drop_connection(self, connection: _Connection) -> None:
        if self._connection is connection:
            self._connection = None
        await connection.close()

    def _describe(self, error: BaseException) -> str:
        return describe_error(error, self._hide)


class _Client(Client):
    """A client that sends nothing without TLS to a server whose URL begins with ``tls://``."""

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        server = self._current_server
        wants_tls = server is not None and server.uri.scheme == "tls"
        if initial_connection and wants_tls and not info.get("tls_required"):
            raise SecureConnWantedError
        await super()._process_info(info, initial_connection)


class _Connection:
    """One connection; a failure of it ends every wait on it at once."""

    def __init__(self) -> None:
        self._client = _Client()
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._last_error: Exception | None = None

    @property
    def is_usable(self) -> bool:
        """Whether nothing has gone wrong on the connection."""
        return bool(self._client.is_connected) and not self._failure.done()

    async def open(self, settings: BrokerOptions, tls: ssl.SSLContext) -> None:
        """Connect to one of the servers.

        Raises the error of the last server that was tried.
        """
        try:
            await self._client.connect(
                _servers_of(settings.broker_url),
                name="campaignd",
                tls=tls,
                connect_timeout=settings.timeout,  # type: ignore[arg-type] # a float will do
                allow_reconnect=False,  # the next attempt opens a connection
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                ping_interval=PING_S,
                error_cb=self._note_error,
                closed_cb=self._note_closed,
            )
        except Exception as error:
            raise self._last_error or error from error

    async def publish(self, attempt: Attempt, settings: BrokerOptions) -> None:
        """Publish one message, and wait for the stream's acknowledgement."""
        publishing = self._client.jetstream().publish(
            settings.queue,
            encoded_message(attempt, settings.format),
            timeout=settings.timeout,
            headers={
                Header.MSG_ID.value: _message_id(attempt, settings),
                "content-type": CONTENT_TYPES[settings.format],
                "campaignd-attempt": str(attempt.number),
            },
        )
        await self._unless_it_fails(publishing)

    async def find_stream(self, subject: str) -> None:
        """Look for a stream that takes messages of a subject.

        Raises:
            NotFoundError: there is none.
        """
        finding = self._client.jetstream().find_stream_name_by_subject(subject)
        try:
            await self._unless_it_fails(finding)
        except Exception as error:
            if "permissions violation" not in str(error).lower():
                raise

    async def close(self) -> None:
        """Close the connection, whatever state it is in."""
        self._fail(ConnectionAbortedError())
        self._failure.exception()  # it is no fault that nothing waits for it any more
        with contextlib.suppress(Exception):  # after a failed handshake it never ends
            await asyncio.wait_for(self._client.close(), CLOSE_S)

    async def _unless_it_fails(self, request: Any) -> Any:
        task = asyncio.ensure_future(request)
        try:
            await asyncio.wait({task, self._failure}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                self._failure.result()
            return await task
        finally:
            task.cancel()

    async def _note_error(self, error: Exception) -> None:
        self._last_error = error
        if self._client.is_connected:
            self._fail(error)

    async def _note_closed(self) -> None:
        self._fail(self._last_error or ConnectionResetError())

    def _fail(self, error: Exception) -> None:
        if not self._failure.done():
            self._failure.set_exception(error)


def _message_id(attempt: Attempt, settings: BrokerOptions) -> str:
    """Return the id by which the stream recognises a repeat.

    A worker that is to finish a run needs a message of each attempt, because a call for an older
    attempt is refused. Otherwise an attempt is only repeated if an acknowledgement was lost.
    """
    if settings.finishes == "later":
        return f"{attempt.run_id}/{attempt.number}"
    return str(attempt.run_id)


def _servers_of(url: str) -> list[str]:
    return url.replace(",", ";").split(";")


def _tls_context(verify: bool, ca_file: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise UnusableTarget(f"ca_file {ca_file}: {error}") from error
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _refuses_every_run(error: BaseException) -> bool:
    text = str(error).lower()
    return any(word in text for word in _REFUSALS)
