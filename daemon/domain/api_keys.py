"""API keys: what one is, and what it may do."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

PREFIX = "cdk_"
"""Every key begins with it, so that a scanner of repositories can tell what it has found."""
NAME_LIMIT = 100


class Scope(StrEnum):
    """What a key may do; each includes the ones before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    def includes(self, needed: Scope) -> bool:
        """Whether a key of this scope may do what needs ``needed``."""
        order = list(Scope)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept and listed: without the secret."""

    id: int
    name: str
    scope: Scope
    created_at: datetime
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


def digest_of(secret: str) -> bytes:
    """What is stored of a key and looked up.

    A plain SHA-256: a key is 32 random bytes, so there is nothing to guess that a slow hash would
    protect, and every request pays for it.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
