"""API keys: creates keys, finds them by the hash of their secret, rotates and revokes them."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.domain.api_keys import (
    EXPIRES_SOON,
    INVALID_VALUES,
    PREFIX,
    ApiKey,
    KeyStatus,
    Scope,
    digest_of,
)
from daemon.domain.audit import Action, AuditEntry
from daemon.domain.errors import Conflict, NotFound
from daemon.domain.formatting import utc_text
from daemon.domain.requests.fields import invalid_input
from storage.audit_log import record_in_transaction
from storage.engine import Database
from storage.errors import translate_errors
from storage.tables import api_keys

LOOKUP_TIMEOUT_S = 10.0
"""Maximum seconds of a lookup, because other requests wait for it."""
_NOW = sa.func.now()
_key = api_keys.c
IS_IN_FORCE = sa.and_(
    _key.revoked_at.is_(None), sa.or_(_key.expires_at.is_(None), _key.expires_at > _NOW)
)
"""Whether a key is neither revoked nor expired."""
HAS_PREVIOUS = sa.func.coalesce(_key.previous_until > _NOW, False)
"""Whether the secret before the last rotation works too."""
SHOWN = (
    *(_key.id, _key.name, _key.scope, _key.created_at, _key.expires_at, _key.last_used_at),
    *(_key.last_used_from, _key.revoked_at),
    sa.case((HAS_PREVIOUS, _key.previous_until)).label("previous_until"),
    sa.case(
        (_key.revoked_at.is_not(None), KeyStatus.REVOKED.value),
        (_key.expires_at <= _NOW, KeyStatus.EXPIRED.value),
        (_key.expires_at <= _NOW + EXPIRES_SOON, KeyStatus.EXPIRING.value),
        else_=KeyStatus.IN_FORCE.value,
    ).label("status"),
)
"""The columns of an ApiKey."""
_WANTED = sa.any_(sa.bindparam("digests", type_=sa.ARRAY(sa.LargeBinary)))
_FIND = sa.select(
    *SHOWN,
    _key.digest,
    # A lookup of the present secret must not accept the previous one, looked up with it.
    sa.case((HAS_PREVIOUS, _key.previous_digest)).label("previous_digest"),
).where(
    sa.or_(_key.digest == _WANTED, sa.and_(_key.previous_digest == _WANTED, HAS_PREVIOUS)),
    IS_IN_FORCE,
)


class ApiKeys:
    """The API keys of one database. Revoked and expired keys stay listed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pending: dict[bytes, asyncio.Future[Any]] = {}
        """Lookups that the next statement answers, by hash."""
        self._lookup_task: asyncio.Task[None] | None = None

    async def create(
        self, name: str, scope: Scope, expires: datetime | timedelta | None = None
    ) -> tuple[ApiKey, str]:
        """Create a key; return it and its secret, which is not stored.

        Args:
            name: no other key that is not revoked has it.
            scope: the permissions.
            expires: the instant from which the key is refused, or the time until then.

        Raises:
            Conflict: the name is in use.
            InvalidInput: the key would expire in the past.
        """
        secret = _new_secret()
        insert = sa.dialects.postgresql.insert(api_keys).values(
            name=name,
            scope=scope,
            digest=digest_of(secret),
            expires_at=await self._expiry_instant(expires),
        )
        async with self._database.transaction() as connection:
            row = (
                await connection.execute(insert.on_conflict_do_nothing().returning(*SHOWN))
            ).one_or_none()
            if row is None:
                raise Conflict(
                    f"a key named {name!r} exists already; rotate it, or revoke it first"
                )
            await _record_change(connection, Action.KEY_CREATED, row, note=f"scope {scope}")
        return key_from(row), secret

    async def _expiry_instant(self, expires: datetime | timedelta | None) -> datetime | None:
        """Return the instant by the database's clock. Raises InvalidInput if it is past."""
        if expires is None:
            return None
        async with self._database.statement() as connection:
            now: datetime = (await connection.execute(sa.select(_NOW))).scalar_one()
        at = expires if isinstance(expires, datetime) else (now + expires).replace(microsecond=0)
        if at <= now:
            fault = f"is {utc_text(at)}, must be in the future"
            raise invalid_input(400, INVALID_VALUES, {"expires_at": [fault]})
        return at

    async def find(self, secret: str) -> ApiKey | None:
        """Return the key with the given secret; None unless such a key is in force."""
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
        if row is None:
            return None
        stored = (each for each in (row.digest, row.previous_digest) if each is not None)
        is_match = any(hmac.compare_digest(each, digest) for each in stored)
        return key_from(row) if is_match else None

    async def _look_up_pending(self) -> None:
        """Look up every pending hash in one statement, until none is pending.

        A lookup that arrives during a statement joins the next one, so that every answer is newer
        than its request: a key that was revoked before the request is not found.
        """
        while self._pending:
            lookups, self._pending = self._pending, {}
            found: dict[bytes | None, Any] = {}
            failure = None
            try:
                with translate_errors():
                    async with asyncio.timeout(LOOKUP_TIMEOUT_S):
                        rows = await self._database.rows(_FIND, digests=list(lookups))
                found = {each: row for row in rows for each in (row.digest, row.previous_digest)}
            except Exception as error:
                failure = error
            for digest, waiter in lookups.items():
                if failure is None:
                    waiter.set_result(found.get(digest))
                else:
                    waiter.set_exception(failure)
                    waiter.exception()  # the request may have been cancelled
        self._lookup_task = None

    async def record_use(self, key_id: int, address: str) -> None:
        """Record the use of a key by a client at the address, at most once a minute."""
        statement = (
            sa.update(api_keys)
            .where(
                _key.id == key_id,
                sa.or_(
                    _key.last_used_at.is_(None),
                    _key.last_used_at < _NOW - sa.text("interval '1 minute'"),
                ),
            )
            .values(last_used_at=_NOW, last_used_from=address)
        )
        async with self._database.statement() as connection:
            await connection.execute(statement)

    async def list(self) -> list[ApiKey]:
        """Return every key, including revoked and expired keys, oldest first."""
        async with self._database.statement() as connection:
            rows = await connection.execute(sa.select(*SHOWN).order_by(_key.id))
            return [key_from(row) for row in rows]

    async def rotate(
        self,
        key: int | str,
        overlap: timedelta,
        expires: datetime | timedelta | None = None,
    ) -> tuple[ApiKey, str]:
        """Give a key a new secret; return the key and the secret, which is not stored.

        Args:
            key: the key's id or name.
            overlap: how long the previous secret works too, at most until the key would have
                expired. A secret before the previous one ends at once.
            expires: as in `create`; None keeps the key's end.

        Raises:
            InvalidInput: the key would expire in the past.
            NotFound: no such key is in force.
        """
        secret = _new_secret()
        is_kept = overlap > timedelta(0)
        until = sa.func.least(sa.func.date_trunc("second", _NOW + overlap), _key.expires_at)
        values: dict[Any, Any] = {
            _key.digest: digest_of(secret),
            _key.previous_digest: _key.digest if is_kept else None,
            _key.previous_until: until if is_kept else None,
        }
        if expires is not None:
            values[_key.expires_at] = await self._expiry_instant(expires)
        return await self._change_key(Action.KEY_ROTATED, key, IS_IN_FORCE, values), secret

    async def revoke(self, key: int | str) -> ApiKey:
        """Revoke the key with this id or name, from the next request on. Raises NotFound."""
        values = {_key.revoked_at: _NOW}
        return await self._change_key(Action.KEY_REVOKED, key, _key.revoked_at.is_(None), values)

    async def _change_key(
        self,
        action: Action,
        key: int | str,
        condition: sa.ColumnElement[bool],
        values: dict[Any, Any],
    ) -> ApiKey:
        named = _key.id == key if isinstance(key, int) else _key.name == key
        statement = sa.update(api_keys).where(named, condition).values(values).returning(*SHOWN)
        async with self._database.transaction() as connection:
            row = (await connection.execute(statement)).one_or_none()
            if row is None:
                description = f"has the id {key}" if isinstance(key, int) else f"is named {key!r}"
                raise NotFound(f"no key in force {description}", message="Key not found")
            await _record_change(connection, action, row)
        return key_from(row)


async def _record_change(
    connection: AsyncConnection, action: Action, row: Any, note: str | None = None
) -> None:
    await record_in_transaction(
        connection, AuditEntry(action, "key", str(row.id), row.name, note=note)
    )


def _new_secret() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def key_from(row: Any) -> ApiKey:
    """Return the ApiKey that a row with the columns `SHOWN` holds."""
    return ApiKey(
        id=row.id,
        name=row.name,
        scope=Scope(row.scope),
        status=KeyStatus(row.status),
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        last_used_from=row.last_used_from,
        previous_until=row.previous_until,
        revoked_at=row.revoked_at,
    )
