"""Sessions of the console: a cookie with a random token, which the database knows by its hash."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from daemon.api.key_uses import KeyUses
from daemon.api.ports import SessionStore
from daemon.api.proxies import Site
from daemon.api.rate_limit import RateLimiter
from daemon.domain.api_keys import SESSION_LIFE, ApiKey

COOKIE = "campaignd_session"
LOGIN_LIMIT = "20/minute"
"""Maximum failed logins of one client address."""
KEY_LIMIT = "100/minute"
"""Maximum logins with one key, since each is a row in the database."""


class SessionGuard:
    """Logs browsers in and out; one for each application.

    Args:
        site: the names under which browsers reach the page.
        sessions: the store of the sessions.
        key_uses: records that a key was used.
    """

    def __init__(self, site: Site, sessions: SessionStore, key_uses: KeyUses) -> None:
        self.site = site
        self._sessions = sessions
        self._key_uses = key_uses
        self._failures = RateLimiter(LOGIN_LIMIT)
        self._logins = RateLimiter(KEY_LIMIT)

    async def is_locked_out(self, request: Request) -> bool:
        """Return whether the client's address has failed to log in too often."""
        return await self._failures.is_exhausted(client_address(request))

    async def count_failed_login(self, request: Request) -> None:
        """Count a login with a wrong key."""
        await self._failures.count_request(client_address(request))

    async def admit_login(self, key: ApiKey) -> bool:
        """Count a login with a key; return whether the key may log in again so soon."""
        is_within, _ = await self._logins.count_request(str(key.id))
        return is_within

    async def find_key(self, request: Request) -> ApiKey | None:
        """Return the key of the request's session; None without a session in force."""
        token = self._session_token(request)
        key = await self._sessions.find(token) if token else None
        if key is not None:
            self._key_uses.record(key, client_address(request))
        return key

    async def log_in(self, request: Request, response: Response, key: ApiKey, secret: str) -> None:
        """Start a session of the key; the browser's session before it ends."""
        await self._end_session(request)
        address = client_address(request)
        token = await self._sessions.start(key, secret, address)
        self._key_uses.record(key, address)
        self._set_cookie(request, response, token)

    async def open_link(self, request: Request, response: Response, link: str) -> bool:
        """Start a session by a link that was not opened before; return whether it worked."""
        address = client_address(request)
        found = await self._sessions.open_link(link, address)
        if found is None:
            return False
        await self._end_session(request)
        key, token = found
        self._key_uses.record(key, address)
        self._set_cookie(request, response, token)
        return True

    def _set_cookie(self, request: Request, response: Response, token: str) -> None:
        response.set_cookie(
            self._cookie_name(request),
            token,
            max_age=int(SESSION_LIFE.total_seconds()),
            httponly=True,
            samesite="strict",
            secure=self._is_https(request),
        )

    async def log_out(self, request: Request, response: Response) -> None:
        """End the session, also for copies of the cookie."""
        await self._end_session(request)
        response.delete_cookie(
            self._cookie_name(request),
            httponly=True,
            samesite="strict",
            secure=self._is_https(request),
        )

    async def _end_session(self, request: Request) -> None:
        token = self._session_token(request)
        if token:
            await self._sessions.end(token)

    def _session_token(self, request: Request) -> str | None:
        return request.cookies.get(self._cookie_name(request))

    def _is_https(self, request: Request) -> bool:
        return self.site.is_https or request.url.scheme == "https"

    def _cookie_name(self, request: Request) -> str:
        """Return the cookie's name; a browser accepts `__Host-` only from this host, by HTTPS."""
        return f"__Host-{COOKIE}" if self._is_https(request) else COOKIE


def client_address(request: Request) -> str:
    """Return the client's address."""
    return request.client.host if request.client else ""
