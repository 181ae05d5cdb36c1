"""Idempotency keys: the response is stored in the transaction of the change.

So a crash between the two cannot repeat the change, and no response is stored for a change that was
rolled back. When two simultaneous requests have one key, the second is refused with a conflict.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.domain.errors import Conflict, InvalidInput
from storage.engine import Connections
from storage.tables import idempotency_keys

KEPT_FOR = "24 hours"
_PRUNE_BATCH = 100
_LOCK_CLASS = 0x6964656D
"""Class of the advisory locks of idempotency keys."""

T = TypeVar("T")


class OneTransaction:
    """Returns one connection every time, in a transaction that its owner ends."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[AsyncConnection]:
        """Yield the connection."""
        yield self._connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Yield the connection; its owner commits the changes."""
        yield self._connection


class ReservedRequest(Generic[T]):
    """One request with its key, in the transaction of the change and the response."""

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
        # An expired response of the same key may not be pruned yet.
        insert = pg.insert(idempotency_keys).values(**self._row, answer=response)
        stored = {name: insert.excluded[name] for name in ("fingerprint", "answer", "created_at")}
        await self._connection.execute(
            insert.on_conflict_do_update(index_elements=["api_key_id", "key"], set_=stored)
        )


class IdempotencyKeys(Generic[T]):
    """The stored responses of one database.

    Args:
        database: the database of the responses.
        bind: returns the service that works on the given transaction.
    """

    def __init__(self, database: Connections, bind: Callable[[OneTransaction], T]) -> None:
        self._database = database
        self._bind = bind

    @asynccontextmanager
    async def reserve(
        self, api_key_id: int, key: str, fingerprint: bytes
    ) -> AsyncIterator[ReservedRequest[T]]:
        """Yield a request in a transaction; commit unless the block raises.

        Raises:
            Conflict: a request with the same key is in progress.
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


_LOCK = sa.text(f"SELECT pg_try_advisory_xact_lock({_LOCK_CLASS}, hashtext(:text))")
_PRUNE = sa.text(f"""
DELETE FROM idempotency_keys WHERE (api_key_id, key) IN (
    SELECT api_key_id, key FROM idempotency_keys
    WHERE created_at < now() - interval '{KEPT_FOR}'
    ORDER BY created_at LIMIT {_PRUNE_BATCH} FOR UPDATE SKIP LOCKED)
""")
_KNOWN = sa.text(f"""
SELECT fingerprint, answer FROM idempotency_keys
WHERE api_key_id = :api_key_id AND key = :key AND created_at >= now() - interval '{KEPT_FOR}'
""").columns(fingerprint=sa.LargeBinary, answer=sa.dialects.postgresql.JSONB)
