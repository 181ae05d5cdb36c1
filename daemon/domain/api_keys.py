"""API keys, their scopes, and their sessions of the page."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

PREFIX = "cdk_"
"""Prefix of every key, by which secret scanners recognise one."""
NAME_LIMIT = 100
"""Maximum characters of a key's name."""
INVALID_VALUES = "Invalid key values"
DEFAULT_OVERLAP = timedelta(days=1)
"""Time after a rotation in which the previous secret works too."""
MAX_OVERLAP = timedelta(days=365)
EXPIRES_SOON = timedelta(days=7)
"""Time before its end in which a key counts as expiring."""
LINK_LIFE = timedelta(minutes=10)
"""Time in which a link that logs a browser in can be opened."""
SESSION_IDLE = timedelta(minutes=30)
"""Time without use after which a session of the page ends."""
SESSION_LIFE = timedelta(hours=12)
"""Maximum time from the start of a session of the page to its end."""


class Scope(StrEnum):
    """The permissions of a key: read, write, admin, each with the ones before; or one alone."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"
    WORKER = "worker"
    FEED = "feed"
    """Only calendar feeds; the one scope whose key may stand in a query."""

    def includes(self, needed: Scope) -> bool:
        """Return whether this scope includes ``needed``."""
        return needed in _INCLUDED[self]


_INCLUDED = {
    Scope.READ: {Scope.READ},
    Scope.WRITE: {Scope.READ, Scope.WRITE, Scope.WORKER},
    Scope.ADMIN: set(Scope),
    Scope.WORKER: {Scope.WORKER},
    Scope.FEED: {Scope.FEED},
}
"""The scopes that each scope includes."""


class KeyStatus(StrEnum):
    """Whether a key works; an expiring key does, for less than `EXPIRES_SOON`."""

    IN_FORCE = "in_force"
    EXPIRING = "expiring"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A stored key, without its secret."""

    id: int
    name: str
    scope: Scope
    status: KeyStatus
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    last_used_from: str | None = None
    """The client's address at the last recorded use."""
    previous_until: datetime | None = None
    """Instant until which the secret before the last rotation works; None if it does not."""
    revoked_at: datetime | None = None


def digest_of(secret: str) -> bytes:
    """Return the digest by which a key is stored and found.

    A plain SHA-256 is enough. A key is 32 random bytes, which cannot be guessed, and every request
    would pay for a slow hash.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
