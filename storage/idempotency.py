"""Doing once what is asked for twice: the answer is kept in the transaction of the change.

So a crash between the two can not do it again, and an answer is never kept for a change that was
rolled back. Of two requests with one key at the same moment, the second is told to come back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from daemon.domain.errors import Conflict, InvalidInput
from storage.engine import Connections
from storage.tables import idempotency_keys
from storage.without_orm import AsyncConnection

KEPT_FOR = "24 hours"
_PRUNED_AT_ONCE = 100
_LOCKS = 0x6964656D
"""The class of advisory locks that these are."""

T = TypeVar("T")


class OneTransaction:
    """Connections that are all the same one, within a transaction that somebody else ends."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[AsyncConnection]:
        """The connection."""
        yield self._connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """The connection; what is written is committed with the rest."""
        yield self._connection


class ReservedRequest(Generic[T]):
    """One request with its key, inside the transaction that is to hold change and answer."""

    def __init__(
        self,
        connection: AsyncConnection,
        row: dict[str, Any],
        response: dict[str, Any] | None,
        service: T,
    ) -> None:
        self._connection = connection
        self._row = row
        self.response = response
        """The stored response; None when this is the first request with the key."""
        self.service = service
        """The service whose changes belong to this transaction."""

    async def store(self, response: dict[str, Any]) -> None:
        """Store the response for repeated requests."""
        await self._connection.execute(
            sa.insert(idempotency_keys).values(**self._row, answer=response)
        )


class IdempotencyKeys(Generic[T]):
    """The kept answers of one database.

    Args:
        database: where they are.
        bind: makes what changes things out of the transaction's connection.
    """

    def __init__(self, database: Connections, bind: Callable[[OneTransaction], T]) -> None:
        self._database = database
        self._bind = bind

    @asynccontextmanager
    async def reserve(
        self, api_key_id: int, key: str, fingerprint: bytes
    ) -> AsyncIterator[ReservedRequest[T]]:
        """A transaction for one request; commits at the end of the block, unless it raises.

        Raises:
            Conflict: a request with the same key is being carried out.
            InvalidInput: the key was used for another request (422).
        """
        row = {"api_key_id": api_key_id, "key": key, "fingerprint": fingerprint}
        async with self._database.transaction() as connection:
            if not await connection.scalar(_LOCK, {"text": f"{api_key_id}:{key}"}):
                raise Conflict("a request with the same Idempotency-Key is being carried out")
            await connection.execute(_PRUNE)
            known = (await connection.execute(_KNOWN, row)).one_or_none()
            if known is not None and known.fingerprint != fingerprint:
                raise InvalidInput(
                    422,
                    "Idempotency-Key used before",
                    "the Idempotency-Key was used for another request within the last 24 hours",
                )
            response = None if known is None else known.answer
            yield ReservedRequest(connection, row, response, self._bind(OneTransaction(connection)))


_LOCK = sa.text(f"SELECT pg_try_advisory_xact_lock({_LOCKS}, hashtext(:text))")
_PRUNE = sa.text(f"""
DELETE FROM idempotency_keys WHERE (api_key_id, key) IN (
    SELECT api_key_id, key FROM idempotency_keys
    WHERE created_at < now() - interval '{KEPT_FOR}'
    ORDER BY created_at LIMIT {_PRUNED_AT_ONCE} FOR UPDATE SKIP LOCKED)
""")
_KNOWN = sa.text(f"""
SELECT fingerprint, answer FROM idempotency_keys
WHERE api_key_id = :api_key_id AND key = :key AND created_at >= now() - interval '{KEPT_FOR}'
""").columns(fingerprint=sa.LargeBinary, answer=sa.dialects.postgresql.JSONB)
