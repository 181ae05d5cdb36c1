"""What every request passes: its id, its bounds, its key, its rate, and its line in the log."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any
from uuid import uuid4

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from daemon.api.auth import secret_of
from daemon.api.errors import ClientGone, TooLarge, TooManyRequests, Unauthorized, answer_to
from daemon.api.ports import Backend, Options
from daemon.api.rate_limit import RateLimiter
from daemon.domain.api_keys import ApiKey
from daemon.domain.errors import CampaigndError, Unavailable
from daemon.domain.ports import Emit

_is_request_id = re.compile(rb"[A-Za-z0-9._:@/+=-]{1,128}").fullmatch
PREFIX = "/api/v1"
_TOUCH_EVERY_S = 60.0
PLACE_WITHIN_S = 1.0
"""How long a request waits until others are answered, before it is refused."""
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})


class RequestMiddleware:
    """The outermost ASGI application.

    Args:
        app: what answers.
        backend: where keys are looked up.
        options: what is allowed.
        emit: where each request's line goes.
    """

    def __init__(self, app: ASGIApp, backend: Backend, options: Options, emit: Emit) -> None:
        self._app = app
        self._backend = backend
        self._options = options
        self._emit = emit
        self._by_key = RateLimiter(options.rate_limit)
        self._by_address = RateLimiter(options.failure_limit)
        self._places = asyncio.Semaphore(options.max_requests)
        self._touched: dict[int, float] = {}
        self._touching: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens."""
        if scope["type"] != "http":
            return
        exchange = _Exchange(scope, send)
        has_place = False
        try:
            async with asyncio.timeout(self._options.request_timeout):
                # Whoever watches the process is not turned away by those who use it.
                if scope["path"] not in _QUIET:
                    await self._take_place()
                    has_place = True
                await self._admit(scope, exchange)
                await self._app(scope, receive, exchange.send)
        except TimeoutError:
            await exchange.answer(Unavailable("the request took too long"))
        except CampaigndError as error:
            await exchange.answer(error)
        except ClientGone:
            exchange.status = 499
        except Exception as error:
            # Answered already, by the handler of last resort.
            self._emit(
                "api_error",
                request_id=exchange.request_id,
                error=f"{type(error).__name__}: {error}",
                exc_info=error,
            )
        finally:
            if has_place:
                self._places.release()
            self._tell(scope, exchange)

    async def _take_place(self) -> None:
        """Wait for one of the places that there are; not for long.

        Those who are turned away at once come back at once, and would leave no time for anybody.
        """
        try:
            async with asyncio.timeout(PLACE_WITHIN_S):
                await self._places.acquire()
        except TimeoutError:
            raise Unavailable("too many requests at once") from None

    async def _admit(self, scope: Scope, exchange: _Exchange) -> None:
        """Raise unless the request may go on."""
        length = exchange.header(b"content-length")
        if length is not None and int(length) > self._options.body_limit:
            raise TooLarge(f"the body has more than {self._options.body_limit} bytes")
        if not scope["path"].startswith("/api/"):
            return
        try:
            key = await self._find_key(exchange)
        except Unauthorized:
            is_within, headers = await self._by_address.hit(exchange.remote)
            if not is_within:
                detail = "too many requests without a valid key from this address"
                raise TooManyRequests(detail, headers) from None
            raise
        scope["state"]["key"] = exchange.key = key
        is_within, headers = await self._by_key.hit(str(key.id))
        if not is_within:
            raise TooManyRequests(f"the limit is {self._options.rate_limit} for each key", headers)
        exchange.add(headers)
        self._touch(key)

    async def _find_key(self, exchange: _Exchange) -> ApiKey:
        secret = secret_of(exchange.headers(b"authorization"))
        # Asked anew for every request, so that a revoked key is refused at once, on every node.
        key = await self._backend.keys.find(secret)
        if key is None:
            raise Unauthorized("there is no such API key, or it was revoked")
        return key

    def _touch(self, key: ApiKey) -> None:
        """Note the key's use, beside the request and at most once a minute."""
        now = time.monotonic()
        if now - self._touched.get(key.id, -_TOUCH_EVERY_S) < _TOUCH_EVERY_S:
            return
        self._touched[key.id] = now
        task = asyncio.create_task(self._note(key.id), name="note a key's use")
        self._touching.add(task)
        task.add_done_callback(self._touching.discard)

    async def _note(self, key_id: int) -> None:
        try:
            await self._backend.keys.touch(key_id)
        except CampaigndError:
            self._touched.pop(key_id, None)  # the next request tries again

    def _tell(self, scope: Scope, exchange: _Exchange) -> None:
        route = getattr(scope.get("route"), "path", "")
        if route and scope["path"].startswith(PREFIX) and not route.startswith(PREFIX):
            route = PREFIX + route
        self._emit(
            "http_request",
            level="debug" if scope["path"] in _QUIET else "info",
            method=scope["method"],
            path=route or "(no such path)",
            status=exchange.status,
            duration_ms=round((time.perf_counter() - exchange.began) * 1000, 3),
            key=exchange.key.name if exchange.key else None,
            key_id=exchange.key.id if exchange.key else None,
            request_id=exchange.request_id,
            remote=exchange.remote,
        )


class _Exchange:
    """One request and what is on its way back."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.began = time.perf_counter()
        self._scope = scope
        self._send = send
        self._added: list[tuple[bytes, bytes]] = []
        self.status = 0
        self.key: ApiKey | None = None
        client = scope.get("client")
        self.remote: str = client[0] if client else ""
        given = self.header(b"x-request-id")
        is_usable = given is not None and _is_request_id(given) is not None
        self.request_id = given.decode("ascii") if given and is_usable else uuid4().hex
        scope.setdefault("state", {})["request_id"] = self.request_id
        self.add({"X-Request-ID": self.request_id})

    def headers(self, name: bytes) -> list[bytes]:
        """Every value of a header."""
        found: list[tuple[bytes, bytes]] = self._scope["headers"]
        return [value for key, value in found if key == name]

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header."""
        return next(iter(self.headers(name)), None)

    def add(self, headers: dict[str, str]) -> None:
        """Headers for the answer, whatever it will be."""
        self._added += [(key.lower().encode(), value.encode()) for key, value in headers.items()]

    async def send(self, message: Message) -> None:
        """Pass on what the application answers."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", []), *self._added]
        await self._send(message)

    async def answer(self, error: CampaigndError) -> None:
        """Answer an error; where an answer has begun, the connection is of no more use."""
        if self.status:
            raise ConnectionAbortedError("the answer was cut short")
        response: Response = answer_to(error)
        await response(self._scope, _nothing, self.send)


async def _nothing() -> dict[str, Any]:
    return {"type": "http.disconnect"}
