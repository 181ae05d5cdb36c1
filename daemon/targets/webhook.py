"""The `webhook` target: posts each run to a URL, signed, over kept connections.

The client is aiohttp, because a request costs a tenth of the time that httpx needs. A receiver
cannot hold an attempt longer than its timeout, nor make it use more memory than `BODY_LIMIT`.
aiohttp sends no POST twice, so only the pipeline decides whether a request is repeated.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aiohttp

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
from daemon.targets.message import CONTENT_TYPES, encoded_message
from daemon.targets.redaction import MAX_REASON, describe_error, redactor
from daemon.targets.shortage import is_resource_shortage
from daemon.targets.webhook_connection import (
    Connector,
    ForbiddenAddress,
    Networks,
    Resolver,
    proxy_of,
    tls_context,
)
from daemon.targets.webhook_signature import key_from, signature

BODY_LIMIT = 64 * 1024
"""Maximum bytes read of a response; a longer one ends with its connection."""
REASON_BYTES = 4 * MAX_REASON
"""Maximum bytes of a response that are decoded for the reason."""
BODY_S = 1.0
"""Maximum seconds for the body of a response; its status line already decides."""
KEEP_ALIVE_S = 4.0
"""Seconds that an unused connection is kept; servers usually close it after 5 or more."""
DEFAULT_HEADERS = {"User-Agent": "campaignd", "Accept-Encoding": "identity"}
RETRY_STATUSES = frozenset({408, 425, 429})
PROXY_STATUSES = frozenset({502, 504})
"""Statuses that a proxy sends: the receiver may have taken the run."""


@dataclass(frozen=True)
class WebhookOptions:
    """The options of a webhook target; durations are in seconds.

    Args:
        keys: signing keys, as `webhook_signature.key_from` returns them.
        retry_after_limit: maximum seconds that a receiver's ``Retry-After`` may ask for.
        lease: seconds to finish a run that the receiver accepted with 202.
        proxy: a proxy's URL, ``env`` for the one that the environment names, or ``none``.
        client_key: the key of ``client_cert``; None: the key is in that file too.
        allow_networks: networks that may be connected to; none: all but ``deny_networks``.
        reuse: False opens a connection for each request, so that no request is lost with a
            connection that the server has just closed.
        format: the format of the body, one of `message.CONTENT_TYPES`.
    """

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
    proxy: str = "none"
    verify_tls: bool = True
    ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    allow_networks: Sequence[str] = ()
    deny_networks: Sequence[str] = ()
    format: str = "campaignd"


def read_keys(texts: Sequence[str], file: Path | None) -> list[bytes]:
    """Return the signing keys: of the secrets given, and of those in a file, one per line.

    Raises:
        UnusableTarget: a secret is invalid, or the file cannot be read.
    """
    lines = list(texts)
    try:
        if file is not None:
            lines += file.read_text(encoding="utf-8-sig").split()
        return [key_from(line) for line in lines]
    except (OSError, ValueError) as error:
        raise UnusableTarget(f"secrets: {error}") from error


class WebhookTarget(Target):
    """Posts each run to a URL."""

    waits = True

    def __init__(self, settings: WebhookOptions, now: Callable[[], datetime]) -> None:
        self._settings = settings
        self._now = now
        self._tls = tls_context(
            settings.url,
            verify=settings.verify_tls,
            ca_file=settings.ca_file,
            client_cert=settings.client_cert,
            client_key=settings.client_key,
        )
        self._networks = Networks(settings.allow_networks, settings.deny_networks)
        self._proxy = proxy_of(settings.url, settings.proxy)
        # `redactor` takes several URLs, separated by semicolons.
        urls = settings.url if self._proxy is None else f"{settings.url};{self._proxy}"
        self._hide = redactor(urls, settings.headers.values())
        self._session: aiohttp.ClientSession | None = None
        self._resolver: Resolver | None = None

    async def deliver(self, attempt: Attempt) -> Outcome:
        """Post the run and return the outcome that the response stands for."""
        settings = self._settings
        body = encoded_message(attempt, settings.format)
        session = self._session or self._open_session()
        response = None
        try:
            response = await session.post(
                settings.url,
                data=body,
                headers=self._request_headers(attempt, body),
                allow_redirects=False,
                proxy=self._proxy,
            )
            return await self._outcome_of(response)
        except (
            aiohttp.ClientConnectorError,  # the name, the connection or TLS failed
            aiohttp.ConnectionTimeoutError,
        ) as error:
            reason = self._failure_reason(error)
            return NotStarted(reason) if is_resource_shortage(error) else Retry(reason)
        except RuntimeError as error:  # no thread for the resolver, so there is no connection
            if not is_resource_shortage(error):
                raise
            return NotStarted(str(error))
        except aiohttp.ClientHttpProxyError as error:
            return Retry(f"the proxy refused the connection: HTTP {error.status}")
        except aiohttp.SocketTimeoutError:
            return OutcomeUnknown(f"no data for {settings.read_timeout:g} s")
        except TimeoutError:
            return OutcomeUnknown(f"no response within {settings.timeout:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return OutcomeUnknown(self._failure_reason(error))
        finally:
            if response is not None and not response.closed:
                response.close()  # with its connection: the body was not read to its end

    async def close(self) -> None:
        """Close the connections and the resolver."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        if self._resolver is not None:
            await self._resolver.close()

    def _open_session(self) -> aiohttp.ClientSession:
        self._resolver = Resolver()
        keep: dict[str, Any] = {"keepalive_timeout": KEEP_ALIVE_S}
        if not self._settings.reuse:
            keep = {"force_close": True}
        self._session = aiohttp.ClientSession(
            connector=Connector(
                limit=self._settings.concurrency,
                ssl=self._tls,
                resolver=self._resolver,
                socket_factory=self._networks.open_socket if self._networks else None,
                ttl_dns_cache=30,
                **keep,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=self._settings.timeout,
                connect=self._settings.connect_timeout,
                sock_read=self._settings.read_timeout,
                ceil_threshold=1e9,
            ),
            auto_decompress=False,
            trust_env=False,
            headers=_constant_headers(self._settings.headers, CONTENT_TYPES[self._settings.format]),
        )
        return self._session

    def _request_headers(self, attempt: Attempt, body: bytes) -> dict[str, str]:
        run_id = str(attempt.run_id)
        timestamp = int(self._now().timestamp())
        headers = {
            "webhook-id": run_id,
            "webhook-timestamp": str(timestamp),
            "campaignd-attempt": str(attempt.number),
            # A run is one trace, each attempt a span of it.
            "traceparent": f"00-{run_id.replace('-', '')}-{random.getrandbits(64):016x}-01",
        }
        if self._settings.keys:
            headers["webhook-signature"] = signature(self._settings.keys, run_id, timestamp, body)
        return headers

    async def _outcome_of(self, response: aiohttp.ClientResponse) -> Outcome:
        status = response.status
        # A body that came with the head, as usual, is not read: only that of a refusal is shown.
        text = "" if status < 300 and response.content.is_eof() else await _read(response)
        if status == 202:
            return Accepted(self._settings.lease)
        if 200 <= status < 300:
            return Delivered()
        if 300 <= status < 400:
            return Reject(f"HTTP {status}: redirects are not followed")
        shown = self._redacted_text(text)
        reason = f"HTTP {status}" + (f": {shown}" if shown else "")
        if status in PROXY_STATUSES:
            return OutcomeUnknown(reason, self._retry_after(response))
        if status in RETRY_STATUSES or status >= 500:
            return Retry(reason, self._retry_after(response))
        return Reject(reason)

    def _failure_reason(self, error: BaseException) -> str:
        if isinstance(error, aiohttp.ClientResponseError):
            # Only the message: the other texts of this error contain the whole URL.
            return f"{type(error).__name__}: {self._redacted_text(error.message)}"
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return f"no connection within {self._settings.connect_timeout:g} s"
        refused = getattr(error, "os_error", None)
        if isinstance(refused, ForbiddenAddress):
            return str(refused)
        return describe_error(error, self._hide)

    def _redacted_text(self, response_text: str) -> str:
        """Return a response's text as one line, redacted because it may repeat the request."""
        text = "".join(c if c.isprintable() else " " for c in response_text)
        shown = self._hide(" ".join(text.split()))
        return shown if len(shown) <= MAX_REASON else shown[: MAX_REASON - 1] + "…"

    def _retry_after(self, response: aiohttp.ClientResponse) -> float:
        value = response.headers.get("Retry-After")
        return retry_after(value, self._now(), self._settings.retry_after_limit)


def retry_after(value: str | None, now: datetime, limit: float) -> float:
    """Return the seconds that ``Retry-After`` asks for (RFC 9110, 10.2.3), at most ``limit``.

    The value is in seconds or a date. An invalid value counts as 0.
    """
    if not value:
        return 0.0
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:12]), limit)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    try:
        return min(max((at - now).total_seconds(), 0.0), limit)
    except OverflowError:
        return limit


def _constant_headers(configured: Mapping[str, str], content_type: str) -> dict[str, str]:
    """Return the headers of every request; a configured one replaces the default of its name."""
    names = {name.lower() for name in configured}
    defaults = {name: text for name, text in DEFAULT_HEADERS.items() if name.lower() not in names}
    return {**defaults, **configured, "Content-Type": content_type}


async def _read(response: aiohttp.ClientResponse) -> str:
    """Return the beginning of a response's body; never raises because of its content."""
    read = bytearray()
    with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError, ValueError):
        async with asyncio.timeout(BODY_S):
            while len(read) < BODY_LIMIT:
                chunk = await response.content.read(BODY_LIMIT - len(read))
                if not chunk:
                    break
                read += chunk
    return bytes(read[:REASON_BYTES]).decode("utf-8", errors="replace")
