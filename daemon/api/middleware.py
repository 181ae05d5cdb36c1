"""The middleware of every request: request id, limits, API key, rate limit, log."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import replace
from typing import Any
from uuid import uuid4

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from daemon.api.auth import secret_from_headers, secret_from_query
from daemon.api.console.live import PATH as STREAM
from daemon.api.cross_site import is_cross_site
from daemon.api.errors import (
    SAFE_HEADERS,
    BodyTooLarge,
    ClientDisconnected,
    Forbidden,
    TooManyRequests,
    Unauthorized,
    UnknownHost,
    error_response,
)
from daemon.api.key_uses import KeyUses
from daemon.api.ports import ApiOptions, Backend
from daemon.api.proxies import Proxies, Site
from daemon.api.rate_limit import RateLimiter
from daemon.api.slots import RequestSlots
from daemon.domain.api_keys import ApiKey
from daemon.domain.api_keys import Scope as KeyScope
from daemon.domain.audit import ORIGIN, AuditEntry, Origin
from daemon.domain.errors import CampaigndError, Unavailable
from daemon.domain.ports import Emit

_is_request_id = re.compile(rb"[A-Za-z0-9._:@/+=-]{1,128}").fullmatch
PREFIX = "/api/v1"
_SAFE = [(name.lower().encode(), value.encode()) for name, value in SAFE_HEADERS.items()]
_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})


class RequestMiddleware:
    """The outermost ASGI application.

    Args:
        app: the application behind the middleware.
        backend: has the store of API keys.
        options: the limits.
        key_uses: records that a key was used.
        emit: receives one event for each request.
    """

    def __init__(
        self, app: ASGIApp, backend: Backend, options: ApiOptions, key_uses: KeyUses, emit: Emit
    ) -> None:
        self._app = app
        self._backend = backend
        self._options = options
        self._emit = emit
        self._by_key = RateLimiter(options.rate_limit)
        self._by_address = RateLimiter(options.failure_limit)
        self._proxies = Proxies(options.trusted_proxies)
        self._site = Site(options.public_url, options.hosts)
        self._slots = RequestSlots(options.max_requests)
        self._key_uses = key_uses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, also if the application fails."""
        if scope["type"] != "http":
            return
        self._proxies.apply_forwarded_headers(scope)
        exchange = _Exchange(scope, send)
        ORIGIN.set(exchange.origin)
        try:
            if scope["path"] == STREAM and scope["method"] == "GET":
                await self._serve_stream(scope, receive, exchange)
                return
            async with asyncio.timeout(self._options.request_timeout) as deadline:
                scope["state"]["deadline"] = deadline
                await self._admit_and_serve(scope, receive, exchange)
        except TimeoutError:
            await exchange.send_error(Unavailable("the request took too long"))
        except CampaigndError as error:
            await exchange.send_error(error)
        except ClientDisconnected:
            exchange.status = 499
        except Exception as error:
            # The application has answered already, by `on_unexpected_error`.
            self._emit(
                "api_error",
                request_id=exchange.request_id,
                error=f"{type(error).__name__}: {error}",
                exc_info=error,
            )
        finally:
            self._log_request(scope, exchange)

    async def _admit_and_serve(self, scope: Scope, receive: Receive, exchange: _Exchange) -> None:
        if scope["path"] in _PROBES:
            # Monitoring is served even when clients use all slots.
            await self._check_admission(scope, exchange)
            await self._app(scope, receive, exchange.send)
            return
        async with self._slots.hold_slot():
            await self._check_admission(scope, exchange)
        caller = f"key {exchange.key.id}" if exchange.key else f"address {exchange.remote}"
        async with self._slots.hold_share(caller):
            # A client that sends its body slowly holds no slot meanwhile.
            receive = await _receive_whole_body(receive, exchange, self._options.body_limit)
            async with self._slots.hold_slot():
                await self._app(scope, receive, exchange.send)

    async def _serve_stream(self, scope: Scope, receive: Receive, exchange: _Exchange) -> None:
        """Serve a live page, which holds no slot, and ends with the page or the server."""
        await self._check_admission(scope, exchange)
        await self._app(scope, receive, exchange.send)

    async def _check_admission(self, scope: Scope, exchange: _Exchange) -> None:
        """Raise CampaigndError unless the request may reach the application."""
        if not self._site.is_host_allowed(scope):
            raise UnknownHost("the Host header names none of api.hosts")
        length = exchange.header(b"content-length")
        if length is not None and int(length) > self._options.body_limit:
            raise BodyTooLarge(f"the body has more than {self._options.body_limit} bytes")
        if not scope["path"].startswith("/api/"):
            return
        if is_cross_site(Headers(scope=scope), self._site.netloc):
            raise Forbidden("the request was sent by a page of another site")
        try:
            key = await self._authenticate(scope, exchange)
        except Unauthorized:
            is_within, headers = await self._by_address.count_request(exchange.remote)
            if not is_within:
                detail = "too many requests without a valid key from this address"
                raise TooManyRequests(detail, headers) from None
            raise
        scope["state"]["key"] = exchange.key = key
        exchange.origin = replace(exchange.origin, actor=f"api:{key.name}")
        ORIGIN.set(exchange.origin)
        is_within, headers = await self._by_key.count_request(str(key.id))
        if not is_within:
            raise TooManyRequests(f"the limit is {self._options.rate_limit} for each key", headers)
        exchange.add_headers(headers)
        self._key_uses.record(key, exchange.remote)

    async def _authenticate(self, scope: Scope, exchange: _Exchange) -> ApiKey:
        headers = exchange.headers(b"authorization")
        in_query = None
        if not headers:
            in_query = secret_from_query(scope["method"], scope["path"], scope["query_string"])
        secret = in_query or secret_from_headers(headers)
        # Each request reads the key, so that an ended key is refused on all nodes at once.
        key = await self._backend.keys.find(secret)
        if key is None:
            raise Unauthorized("the API key does not exist, is revoked or has expired")
        if in_query and key.scope is not KeyScope.FEED:
            raise Unauthorized("only a key of the scope feed may stand in a query")
        return key

    def _log_request(self, scope: Scope, exchange: _Exchange) -> None:
        route = getattr(scope.get("route"), "path", "")
        if route and scope["path"].startswith(PREFIX) and not route.startswith(PREFIX):
            route = PREFIX + route
        change = _latest_change(exchange)
        self._emit(
            "http_request",
            level="debug" if scope["path"] in _PROBES else "info",
            method=scope["method"],
            path=route or "(no such path)",
            status=exchange.status,
            duration_ms=round((time.perf_counter() - exchange.began) * 1000, 3),
            key=exchange.key.name if exchange.key else None,
            key_id=exchange.key.id if exchange.key else None,
            request_id=exchange.request_id,
            remote=exchange.remote,
            action=change.action if change else None,
            object_id=change.object_id if change else None,
            object_name=change.object_name if change else None,
        )


def _latest_change(exchange: _Exchange) -> AuditEntry | None:
    """Return what the request changed, for its log line."""
    if exchange.status >= 400 or not exchange.origin.latest:
        return None
    return exchange.origin.latest[-1]


class _Exchange:
    """One request and the response to it."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.began = time.perf_counter()
        self._scope = scope
        self._send = send
        self._added: list[tuple[bytes, bytes]] = []
        self.status = 0
        self.key: ApiKey | None = None
        client = scope.get("client")
        self.remote: str = client[0] if client else ""
        sent = self.header(b"x-request-id")
        is_valid = sent is not None and _is_request_id(sent) is not None
        self.request_id = sent.decode("ascii") if sent and is_valid else uuid4().hex
        scope.setdefault("state", {})["request_id"] = self.request_id
        self.add_headers({"X-Request-ID": self.request_id})
        self.origin = Origin("anonymous", address=self.remote, request_id=self.request_id)

    def headers(self, name: bytes) -> list[bytes]:
        """Return every value of a header."""
        found: list[tuple[bytes, bytes]] = self._scope["headers"]
        return [value for key, value in found if key == name]

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of a header, or None."""
        return next(iter(self.headers(name)), None)

    def add_headers(self, headers: dict[str, str]) -> None:
        """Add headers to the response, whether it is an error or not."""
        self._added += [(key.lower().encode(), value.encode()) for key, value in headers.items()]

    async def send(self, message: Message) -> None:
        """Send a message of the application, with the added headers."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", []), *self._added]
            given = {name.lower() for name, _ in headers}
            message["headers"] = headers + [each for each in _SAFE if each[0] not in given]
        await self._send(message)

    async def send_error(self, error: CampaigndError) -> None:
        """Send an error response.

        Raises:
            ConnectionAbortedError: a response was started; uvicorn then closes the connection.
        """
        if self.status:
            raise ConnectionAbortedError("the response was not finished")
        response: Response = error_response(error)
        await response(self._scope, _receive_nothing, self.send)


async def _receive_nothing() -> dict[str, Any]:
    return {"type": "http.disconnect"}


async def _receive_whole_body(receive: Receive, exchange: _Exchange, limit: int) -> Receive:
    """Wait for the whole body; return a ``receive`` that returns it at once.

    Raises:
        TooLarge: As soon as the body exceeds the limit.
        ClientGone: The client disconnected.
    """
    if not exchange.headers(b"content-length") and not exchange.headers(b"transfer-encoding"):
        return receive
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        body += message.get("body", b"")
        if len(body) > limit:
            raise BodyTooLarge(f"the body has more than {limit} bytes")
        more = message.get("more_body", False)
    whole = [{"type": "http.request", "body": bytes(body), "more_body": False}]

    async def receive_buffered() -> Message:
        return whole.pop() if whole else await receive()

    return receive_buffered
