"""Sessions of the dashboard: a signed cookie that names an API key and expires after 30 minutes.

Each process signs with its own secret, made at its start, so that a restart ends all sessions.
The key in a cookie is read from the database for every request: revoking the key ends its sessions.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time

from starlette.requests import Request
from starlette.responses import Response

from daemon.api.ports import ApiKeyStore
from daemon.api.proxies import Site
from daemon.api.rate_limit import RateLimiter
from daemon.domain.api_keys import ApiKey

COOKIE = "campaignd_session"
LIFE_S = 1800
LOGIN_LIMIT = "20/minute"
"""Maximum failed logins of one client address."""


class Sessions:
    """Issues and reads signed cookies."""

    def __init__(self, secret: bytes | None = None) -> None:
        self._secret = secret or secrets.token_bytes(32)

    def issue(self, key_id: int, now: float | None = None) -> str:
        """Return the cookie's value for a key."""
        until = int(now if now is not None else time.time()) + LIFE_S
        claims = f"{key_id}.{until}"
        return f"{claims}.{self._sign_cookie(claims)}"

    def read(self, value: str | None, now: float | None = None) -> int | None:
        """Return the key's id; None if the signature is wrong or the session has expired."""
        claims, _, signature = (value or "").rpartition(".")
        if not hmac.compare_digest(self._sign_cookie(claims).encode(), signature.encode()):
            return None
        key_id, _, until = claims.partition(".")
        if int(until) < (now if now is not None else time.time()):
            return None
        return int(key_id)

    def _sign_cookie(self, claims: str) -> str:
        return hmac.new(self._secret, claims.encode(), hashlib.sha256).hexdigest()


class SessionGuard:
    """Logs browsers in and out; one for each application.

    Args:
        site: the names under which browsers reach the page.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self._sessions = Sessions()
        self._failures = RateLimiter(LOGIN_LIMIT)

    async def is_locked_out(self, request: Request) -> bool:
        """Return whether the client's address has failed to log in too often."""
        return await self._failures.is_exhausted(_address_of(request))

    async def count_failure(self, request: Request) -> None:
        """Count a login with a wrong key."""
        await self._failures.hit(_address_of(request))

    async def find_key(self, request: Request, keys: ApiKeyStore) -> ApiKey | None:
        """Return the key of the request's session; None without a session or a valid key."""
        key_id = self._sessions.read(request.cookies.get(self._cookie_attributes(request)))
        if key_id is None:
            return None
        found = await keys.list()
        return next((key for key in found if key.id == key_id and key.revoked_at is None), None)

    def log_in(self, request: Request, response: Response, key: ApiKey) -> None:
        """Start the key's session, or extend it."""
        response.set_cookie(
            self._cookie_attributes(request),
            self._sessions.issue(key.id),
            max_age=LIFE_S,
            httponly=True,
            samesite="strict",
            secure=self._is_https(request),
        )

    def log_out(self, request: Request, response: Response) -> None:
        """End the session in this browser."""
        response.delete_cookie(
            self._cookie_attributes(request),
            httponly=True,
            samesite="strict",
            secure=self._is_https(request),
        )

    def _is_https(self, request: Request) -> bool:
        return self.site.is_https or request.url.scheme == "https"

    def _cookie_attributes(self, request: Request) -> str:
        """Return the cookie's name; a browser accepts `__Host-` only from this host, by HTTPS."""
        return f"__Host-{COOKIE}" if self._is_https(request) else COOKIE


def _address_of(request: Request) -> str:
    return request.client.host if request.client else ""
