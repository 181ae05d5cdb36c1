"""The `webhook` target: runs are posted to an address, signed, over connections that are kept.

aiohttp, because it costs a tenth of the time per request that httpx does. Nothing a receiver does
can hold an attempt longer than its time-out or take more memory than `BODY_LIMIT`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from daemon.domain.run.attempt import Attempt
from daemon.domain.run.outcome import Accepted, Delivered, Outcome, OutcomeUnknown, Reject, Retry
from daemon.domain.run.target import Target
from daemon.targets.errors import UnusableTarget
from daemon.targets.message import encoded
from daemon.targets.redaction import LONGEST, describe_error, redactor
from daemon.targets.retry_after import retry_after
from daemon.targets.webhook_signature import key_from, signature

BODY_LIMIT = 64 * 1024
"""Bytes read of an answer; a longer one ends with its connection."""
READ = 4 * LONGEST
"""Bytes of it that are looked at for the reason."""
BODY_S = 1.0
"""Seconds spent on the body of an answer; what it means stands in its first line."""
KEEP_ALIVE_S = 4.0
"""Connections are let go before servers do, whose usual patience is 5 seconds or more."""
TRY_AGAIN = frozenset({408, 425, 429})
BY_A_PROXY = frozenset({502, 504})
"""Answers of a machine in between: the receiver may have taken the run."""


@dataclass(frozen=True)
class WebhookOptions:
    """What a webhook is told; seconds. ``keys`` as `signature.key_from` reads them."""

    url: str
    keys: Sequence[bytes] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    connect_timeout: float = 5.0
    read_timeout: float | None = None
    timeout: float = 30.0
    retry_after_limit: float = 3600.0
    lease: float = 300.0
    concurrency: int = 32
    reuse: bool = True
    """False: a connection for each request, so that none is lost with a connection just closed."""
    verify_tls: bool = True
    ca_file: Path | None = None


def read_keys(texts: Sequence[str], file: Path | None) -> list[bytes]:
    """The keys of a webhook: those given, and those in a file, one a line.

    Raises:
        UnusableTarget: a key or the file can not be read.
    """
    lines = list(texts)
    try:
        if file is not None:
            lines += file.read_text(encoding="utf-8").split()
        return [key_from(line) for line in lines]
    except (OSError, ValueError) as error:
        raise UnusableTarget(f"secrets: {error}") from error


class WebhookTarget(Target):
    """Posts each run."""

    waits = True

    def __init__(self, settings: WebhookOptions, now: Callable[[], datetime]) -> None:
        self._settings = settings
        self._now = now
        self._tls = _tls(settings)
        self._hide = redactor(settings.url, settings.headers.values())
        self._session: aiohttp.ClientSession | None = None
        self._resolver: _Resolver | None = None

    async def deliver(self, work: Attempt) -> Outcome:
        """Post the run; what the answer, or its absence, means."""
        settings = self._settings
        body = encoded(work)
        session = self._session or self._open()
        response = None
        try:
            async with asyncio.timeout(settings.timeout) as limit:
                response = await session.post(
                    settings.url,
                    data=body,
                    headers=self._headers(work, body),
                    allow_redirects=False,
                )
            left = (limit.when() or 0.0) - asyncio.get_running_loop().time()
            return await self._outcome(response, max(0.05, min(BODY_S, left)))
        except (
            aiohttp.ClientConnectorError,  # a name, a connection or TLS that was not to be had
            aiohttp.ConnectionTimeoutError,
        ) as error:
            return Retry(self._why(error))
        except aiohttp.SocketTimeoutError:
            return OutcomeUnknown(f"nothing came for {settings.read_timeout:g} s")
        except TimeoutError:
            return OutcomeUnknown(f"no answer within {settings.timeout:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return OutcomeUnknown(self._why(error))
        finally:
            if response is not None:
                response.close()  # lets the connection go, unless it was read to its end

    async def close(self) -> None:
        """Let connections go."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        if self._resolver is not None:
            await self._resolver.close()

    def _open(self) -> aiohttp.ClientSession:
        self._resolver = _Resolver()
        kept: dict[str, Any] = {"keepalive_timeout": KEEP_ALIVE_S}
        if not self._settings.reuse:
            kept = {"force_close": True}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._settings.concurrency,
                ssl=self._tls,
                resolver=self._resolver,
                ttl_dns_cache=30,
                **kept,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=None,
                connect=self._settings.connect_timeout,
                sock_read=self._settings.read_timeout,
                ceil_threshold=1e9,
            ),
            auto_decompress=False,
            trust_env=False,
            headers={
                "User-Agent": "campaignd",
                "Accept-Encoding": "identity",
                **self._settings.headers,
            },
        )
        return self._session

    def _headers(self, work: Attempt, body: bytes) -> dict[str, str]:
        run_id = str(work.run_id)
        timestamp = int(self._now().timestamp())
        headers = {
            "Content-Type": "application/json",
            "webhook-id": run_id,
            "webhook-timestamp": str(timestamp),
            "campaignd-attempt": str(work.attempt),
            # One trace for each run, one span for each attempt.
            "traceparent": f"00-{work.run_id.hex}-{secrets.token_hex(8)}-01",
        }
        if self._settings.keys:
            headers["webhook-signature"] = signature(self._settings.keys, run_id, timestamp, body)
        return headers

    async def _outcome(self, response: aiohttp.ClientResponse, seconds: float) -> Outcome:
        status = response.status
        text = await _read(response, seconds)
        if status == 202:
            return Accepted(self._settings.lease)
        if 200 <= status < 300:
            return Delivered()
        if 300 <= status < 400:
            return Reject(f"HTTP {status}: redirects are not followed")
        said = self._shown(text)
        reason = f"HTTP {status}" + (f": {said}" if said else "")
        if status in BY_A_PROXY:
            return OutcomeUnknown(reason, self._wait(response))
        if status in TRY_AGAIN or status >= 500:
            return Retry(reason, self._wait(response))
        return Reject(reason)

    def _why(self, error: BaseException) -> str:
        if isinstance(error, aiohttp.ClientResponseError):
            # What was wrong with the answer; its other texts have the whole URL.
            return f"{type(error).__name__}: {self._shown(error.message)}"
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return f"no connection within {self._settings.connect_timeout:g} s"
        return describe_error(error, self._hide)

    def _shown(self, said: str) -> str:
        """An answer's words as one line; it may repeat what it was asked for."""
        text = "".join(c if c.isprintable() else " " for c in said)
        shown = self._hide(" ".join(text.split()))
        return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"

    def _wait(self, response: aiohttp.ClientResponse) -> float:
        asked = response.headers.get("Retry-After")
        return retry_after(asked, self._now(), self._settings.retry_after_limit)


async def _read(response: aiohttp.ClientResponse, seconds: float) -> str:
    """The beginning of an answer's body; never raises for what is in it."""
    read = bytearray()
    with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError, ValueError):
        if response.content.is_eof():
            # It came with its head, as most do: nothing to wait for.
            read += response.content.read_nowait(BODY_LIMIT)
            return _text(read)
        async with asyncio.timeout(seconds):
            while len(read) < BODY_LIMIT:
                chunk = await response.content.read(BODY_LIMIT - len(read))
                if not chunk:
                    break
                read += chunk
    return _text(read)


def _text(read: bytearray) -> str:
    return bytes(read[:READ]).decode("utf-8", errors="replace")


def _tls(settings: WebhookOptions) -> ssl.SSLContext | bool:
    if not settings.url.startswith("https:"):
        return True
    if not settings.verify_tls:
        return False
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise UnusableTarget(f"ca_file {settings.ca_file}: {error}") from error


class _Resolver(AbstractResolver):
    """Looks names up in threads of this target's own: a dead name server holds no other target."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="resolve")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a host."""
        found = await asyncio.get_running_loop().run_in_executor(
            self._pool,
            lambda: socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG
            ),
        )
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=of_family,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for of_family, _, proto, _, address in found
        ]

    async def close(self) -> None:
        """Let the threads end."""
        self._pool.shutdown(wait=False, cancel_futures=True)
