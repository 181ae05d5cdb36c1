"""API keys: made, found by the hash of their secret, revoked."""

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
from storage.prepared import Prepared
from storage.tables import api_keys

LOOK_WITHIN_S = 10.0
"""How long a statement that others wait behind may take."""
_SHOWN = [column for column in api_keys.c if column.name != "digest"]
_FIND = Prepared(
    lambda: sa.select(*_SHOWN, api_keys.c.digest).where(
        api_keys.c.digest == sa.any_(sa.bindparam("digests", type_=sa.ARRAY(sa.LargeBinary))),
        api_keys.c.revoked_at.is_(None),
    )
)


class ApiKeys:
    """The keys of one database. Revoked ones stay listed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._asked: dict[bytes, asyncio.Future[Any]] = {}
        """Hashes to look up with the next statement."""
        self._looking: asyncio.Task[None] | None = None

    async def create(self, name: str, scope: Scope) -> tuple[ApiKey, str]:
        """A new key and its secret, which is not kept. Raises Conflict if the name is in use."""
        secret = PREFIX + secrets.token_urlsafe(32)
        insert = sa.dialects.postgresql.insert(api_keys).values(
            name=name, scope=scope, digest=digest_of(secret)
        )
        async with self._database.statement() as connection:
            row = (
                await connection.execute(insert.on_conflict_do_nothing().returning(*_SHOWN))
            ).one_or_none()
        if row is None:
            raise Conflict(f"a key called {name!r} exists already; revoke it first")
        return key_from(row), secret

    async def find(self, secret: str) -> ApiKey | None:
        """The key with this secret, if it is there and not revoked."""
        digest = digest_of(secret)
        if digest not in self._asked:
            self._asked[digest] = asyncio.get_running_loop().create_future()
            if self._looking is None:
                self._looking = asyncio.create_task(self._look(), name="look keys up")
        # Others may wait for the same answer when this one gives up.
        row = await asyncio.shield(self._asked[digest])
        # The index compares hashes, of which an attacker controls no prefix; the last word is
        # nevertheless a comparison that takes the same time wherever they differ.
        if row is None or not hmac.compare_digest(row.digest, digest):
            return None
        return key_from(row)

    async def _look(self) -> None:
        """Look up what is asked for, all of it in one statement, until nothing is.

        What is asked for while a statement is under way goes into the next one, so that every
        answer is from after its question: a key that was revoked before is not found.
        """
        while self._asked:
            asked, self._asked = self._asked, {}
            found: dict[bytes, Any] = {}
            failure = None
            try:
                with translated():
                    async with asyncio.timeout(LOOK_WITHIN_S):
                        rows = await self._database.rows(_FIND, digests=list(asked))
                found = {row.digest: row for row in rows}
            except Exception as error:
                failure = error
            for digest, answer in asked.items():
                if failure is None:
                    answer.set_result(found.get(digest))
                else:
                    answer.set_exception(failure)
                    answer.exception()  # whoever asked may have given up
        self._looking = None

    async def touch(self, key_id: int) -> None:
        """The key is in use; written only if the last note is a minute old."""
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
        """Every key there ever was, oldest first."""
        async with self._database.statement() as connection:
            rows = await connection.execute(sa.select(*_SHOWN).order_by(api_keys.c.id))
            return [key_from(row) for row in rows]

    async def revoke(self, name: str) -> ApiKey:
        """End the key of this name, from the next request on. Raises NotFound."""
        return await self._revoke(api_keys.c.name == name, f"is called {name!r}")

    async def revoke_id(self, key_id: int) -> ApiKey:
        """End the key with this id, from the next request on. Raises NotFound."""
        return await self._revoke(api_keys.c.id == key_id, f"has the id {key_id}")

    async def _revoke(self, which: sa.ColumnElement[bool], words: str) -> ApiKey:
        statement = (
            sa.update(api_keys)
            .where(api_keys.c.revoked_at.is_(None), which)
            .values(revoked_at=sa.func.now())
            .returning(*_SHOWN)
        )
        async with self._database.statement() as connection:
            row = (await connection.execute(statement)).one_or_none()
        if row is None:
            raise NotFound(f"no key in force {words}", message="Key not found")
        return key_from(row)


def key_from(row: Any) -> ApiKey:
    """The ApiKey that a row of ``api_keys`` holds."""
    return ApiKey(
        row.id, row.name, Scope(row.scope), row.created_at, row.last_used_at, row.revoked_at
    )
