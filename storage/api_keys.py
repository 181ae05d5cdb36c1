"""API keys: creates keys, finds them by the hash of their secret, and revokes them."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from typing import Any

import sqlalchemy as sa

from daemon.domain.api_keys import PREFIX, ApiKey, Scope, digest_of
from daemon.domain.errors import Conflict, NotFound
from storage.engine import Database
from storage.errors import translated
from storage.tables import api_keys

LOOKUP_TIMEOUT_S = 10.0
"""Maximum seconds of a lookup, because other requests wait for it."""
_SHOWN = [column for column in api_keys.c if column.name != "digest"]
_FIND = sa.select(*_SHOWN, api_keys.c.digest).where(
    api_keys.c.digest == sa.any_(sa.bindparam("digests", type_=sa.ARRAY(sa.LargeBinary))),
    api_keys.c.revoked_at.is_(None),
)


class ApiKeys:
    """The API keys of one database. Revoked keys stay listed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pending: dict[bytes, asyncio.Future[Any]] = {}
        """Lookups that the next statement answers, by hash."""
        self._lookup_task: asyncio.Task[None] | None = None

    async def create(self, name: str, scope: Scope) -> tuple[ApiKey, str]:
        """Create a key; return it and its secret, which is not stored. Raises Conflict."""
        secret = PREFIX + secrets.token_urlsafe(32)
        insert = sa.dialects.postgresql.insert(api_keys).values(
            name=name, scope=scope, digest=digest_of(secret)
        )
        async with self._database.statement() as connection:
            row = (
                await connection.execute(insert.on_conflict_do_nothing().returning(*_SHOWN))
            ).one_or_none()
        if row is None:
            raise Conflict(f"a key named {name!r} exists already; revoke it first")
        return key_from(row), secret

    async def find(self, secret: str) -> ApiKey | None:
        """Return the key with the given secret, or None if it is unknown or revoked."""
        digest = digest_of(secret)
        if digest not in self._pending:
            self._pending[digest] = asyncio.get_running_loop().create_future()
            if self._lookup_task is None:
                self._lookup_task = asyncio.create_task(
                    self._look_up_pending(), name="look up API keys"
                )
        # Other requests may wait for the same row when this request is cancelled.
        row = await asyncio.shield(self._pending[digest])
        # The index compares hashes, and an attacker controls no prefix of a hash. The final
        # comparison nevertheless takes the same time wherever the hashes differ.
        if row is None or not hmac.compare_digest(row.digest, digest):
            return None
        return key_from(row)

    async def _look_up_pending(self) -> None:
        """Look up every pending hash in one statement, until none is pending.

        A lookup that arrives during a statement joins the next one, so that every answer is newer
        than its request: a key that was revoked before the request is not found.
        """
        while self._pending:
            lookups, self._pending = self._pending, {}
            found: dict[bytes, Any] = {}
            failure = None
            try:
                with translated():
                    async with asyncio.timeout(LOOKUP_TIMEOUT_S):
                        rows = await self._database.rows(_FIND, digests=list(lookups))
                found = {row.digest: row for row in rows}
            except Exception as error:
                failure = error
            for digest, waiter in lookups.items():
                if failure is None:
                    waiter.set_result(found.get(digest))
                else:
                    waiter.set_exception(failure)
                    waiter.exception()  # the request may have been cancelled
        self._lookup_task = None

    async def touch(self, key_id: int) -> None:
        """Record the use of a key, at most once a minute."""
        statement = (
            sa.update(api_keys)
            .where(
                api_keys.c.id == key_id,
                sa.or_(
                    api_keys.c.last_used_at.is_(None),
                    api_keys.c.last_used_at < sa.func.now() - sa.text("interval '1 minute'"),
                ),
            )
            .values(last_used_at=sa.func.now())
        )
        async with self._database.statement() as connection:
            await connection.execute(statement)

    async def list(self) -> list[ApiKey]:
        """Return every key, including revoked keys, oldest first."""
        async with self._database.statement() as connection:
            rows = await connection.execute(sa.select(*_SHOWN).order_by(api_keys.c.id))
            return [key_from(row) for row in rows]

    async def revoke(self, name: str) -> ApiKey:
        """Revoke the key with the given name, from the next request on. Raises NotFound."""
        return await self._revoke(api_keys.c.name == name, f"is named {name!r}")

    async def revoke_id(self, key_id: int) -> ApiKey:
        """Revoke the key with the given id, from the next request on. Raises NotFound."""
        return await self._revoke(api_keys.c.id == key_id, f"has the id {key_id}")

    async def _revoke(self, condition: sa.ColumnElement[bool], description: str) -> ApiKey:
        statement = (
            sa.update(api_keys)
            .where(api_keys.c.revoked_at.is_(None), condition)
            .values(revoked_at=sa.func.now())
            .returning(*_SHOWN)
        )
        async with self._database.statement() as connection:
            row = (await connection.execute(statement)).one_or_none()
        if row is None:
            raise NotFound(f"no key in force {description}", message="Key not found")
        return key_from(row)


def key_from(row: Any) -> ApiKey:
    """Return the ApiKey that a row of ``api_keys`` holds."""
    return ApiKey(
        row.id, row.name, Scope(row.scope), row.created_at, row.last_used_at, row.revoked_at
    )
