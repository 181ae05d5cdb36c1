"""A log-in to the page: a cookie that says whose key it was, signed, and soon over.

The secret that signs is this process's own and new at every start, so a restart is a log-out. The
key behind a cookie is looked up for every request: once it is revoked, the cookie is worth nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

COOKIE = "campaignd_session"
LIFE_S = 1800


class Sessions:
    """Makes and reads cookies."""

    def __init__(self, secret: bytes | None = None) -> None:
        self._secret = secret or secrets.token_bytes(32)

    def issue(self, key_id: int, now: float | None = None) -> str:
        """The value of a cookie for a key."""
        until = int(now if now is not None else time.time()) + LIFE_S
        said = f"{key_id}.{until}"
        return f"{said}.{self._sign(said)}"

    def read(self, value: str | None, now: float | None = None) -> int | None:
        """Whose key it is; None unless it is ours and not over."""
        said, _, signature = (value or "").rpartition(".")
        if not hmac.compare_digest(self._sign(said).encode(), signature.encode()):
            return None
        key_id, _, until = said.partition(".")
        if int(until) < (now if now is not None else time.time()):
            return None
        return int(key_id)

    def _sign(self, said: str) -> str:
        return hmac.new(self._secret, said.encode(), hashlib.sha256).hexdigest()


def comes_from_elsewhere(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that another site's page made this request."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host")
