"""API keys and their scopes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

PREFIX = "cdk_"
"""Prefix of every key, by which secret scanners recognise one."""
NAME_LIMIT = 100
"""Maximum characters of a key's name."""


class Scope(StrEnum):
    """The permissions of a key: read, write, admin, each with the ones before; or worker alone."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"
    WORKER = "worker"

    def includes(self, needed: Scope) -> bool:
        """Return whether this scope includes ``needed``."""
        return needed in _INCLUDED[self]


_INCLUDED = {
    Scope.READ: {Scope.READ},
    Scope.WRITE: {Scope.READ, Scope.WRITE, Scope.WORKER},
    Scope.ADMIN: set(Scope),
    Scope.WORKER: {Scope.WORKER},
}
"""The scopes that each scope includes."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A stored key, without its secret."""

    id: int
    name: str
    scope: Scope
    created_at: datetime
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


def digest_of(secret: str) -> bytes:
    """Return the digest by which a key is stored and found.

    A plain SHA-256 is enough. A key is 32 random bytes, which cannot be guessed, and every request
    would pay for a slow hash.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
