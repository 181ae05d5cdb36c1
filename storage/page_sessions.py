"""Sessions of the console: a browser's token, stored as its hash, stands for a key."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.domain.api_keys import LINK_LIFE, SESSION_IDLE, SESSION_LIFE, ApiKey, digest_of
from daemon.domain.audit import Action, AuditEntry
from storage.api_keys import HAS_PREVIOUS, IS_IN_FORCE, SHOWN, key_from
from storage.audit_log import record_in_transaction
from storage.engine import Database
from storage.tables import api_keys, login_links, sessions

_PRUNE_BATCH = 1000
"""Maximum ended sessions that one log-in deletes."""
_NOW = sa.func.now()
_session = sessions.c
_IS_DIGEST = _session.digest == sa.bindparam("of", type_=sa.LargeBinary)
_HAS_SECRET = sa.or_(
    _session.key_digest == api_keys.c.digest,
    sa.and_(_session.key_digest == api_keys.c.previous_digest, HAS_PREVIOUS),
)
"""Whether the secret that started the session still works."""
_FIND = (
    sa.select(*SHOWN, (_session.used_at < _NOW - sa.text("interval '1 minute'")).label("is_stale"))
    .join_from(sessions, api_keys)
    .where(
        _IS_DIGEST,
        _session.used_at > _NOW - SESSION_IDLE,
        _session.created_at > _NOW - SESSION_LIFE,
        IS_IN_FORCE,
        _HAS_SECRET,
    )
)
_TOUCH = sa.update(sessions).where(_IS_DIGEST).values(used_at=_NOW)
_END = (
    sa.delete(sessions)
    .where(_IS_DIGEST, _session.api_key_id == api_keys.c.id)
    .returning(_session.api_key_id, api_keys.c.name)
)
# Every ended session is unused from then on. Simultaneous log-ins do not wait for each other.
_ENDED = (
    sa.select(_session.digest)
    .where(_session.used_at <= _NOW - SESSION_IDLE)
    .limit(_PRUNE_BATCH)
    .with_for_update(skip_locked=True)
)
_PRUNE = sa.delete(sessions).where(_session.digest.in_(_ENDED))

_link = login_links.c
_PRUNE_LINKS = sa.delete(login_links).where(_link.expires_at <= _NOW)
_CREATE_LINK = (
    sa.insert(login_links)
    .from_select(
        ["digest", "api_key_id", "key_digest", "expires_at"],
        sa.select(
            sa.bindparam("link", type_=sa.LargeBinary),
            api_keys.c.id,
            api_keys.c.digest,
            _NOW + LINK_LIFE,
        ).where(api_keys.c.name == sa.bindparam("key_name"), IS_IN_FORCE),
    )
    .returning(_link.api_key_id)
)
_OPEN_LINK = (
    sa.delete(login_links)
    .where(
        _link.digest == sa.bindparam("of", type_=sa.LargeBinary),
        _link.expires_at > _NOW,
        _link.api_key_id == api_keys.c.id,
        IS_IN_FORCE,
        sa.or_(
            _link.key_digest == api_keys.c.digest,
            sa.and_(_link.key_digest == api_keys.c.previous_digest, HAS_PREVIOUS),
        ),
    )
    .returning(*SHOWN, _link.key_digest)
)


class PageSessions:
    """The sessions of one database, which every node reads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def start(self, key: ApiKey, secret: str, address: str) -> str:
        """Start a session and delete ended ones; return the token, which is not stored.

        Args:
            key: the key that logs in.
            secret: the key's secret; the session ends when this secret does.
            address: of the client.
        """
        async with self._database.transaction() as connection:
            return await _start(connection, key, digest_of(secret), address)

    async def create_link(self, key_name: str) -> str | None:
        """Make a link that logs a browser in once; return its token, which is not stored.

        None if no key in force has the name.
        """
        token = secrets.token_urlsafe(32)
        async with self._database.transaction() as connection:
            await connection.execute(_PRUNE_LINKS)
            made = await connection.execute(
                _CREATE_LINK, {"link": digest_of(token), "key_name": key_name}
            )
            return None if made.one_or_none() is None else token

    async def open_link(self, token: str, address: str) -> tuple[ApiKey, str] | None:
        """Use a link up and start a session; return the key and the browser's token.

        None unless there is such a link, not opened before and not expired, of a key in force.
        """
        async with self._database.transaction() as connection:
            row = (await connection.execute(_OPEN_LINK, {"of": digest_of(token)})).one_or_none()
            if row is None:
                return None
            key = key_from(row)
            return key, await _start(connection, key, row.key_digest, address)

    async def find(self, token: str) -> ApiKey | None:
        """Return the session's key and record the use, at most once a minute.

        None unless there is such a session, not yet ended by log-out, by its age, by disuse, or by
        the end of the secret that started it.
        """
        digest = digest_of(token)
        async with self._database.statement() as connection:
            row = (await connection.execute(_FIND, {"of": digest})).one_or_none()
            if row is None:
                return None
            if row.is_stale:
                await connection.execute(_TOUCH, {"of": digest})
        return key_from(row)

    async def end(self, token: str) -> None:
        """End a session; nothing happens if there is none."""
        async with self._database.transaction() as connection:
            ended = (await connection.execute(_END, {"of": digest_of(token)})).one_or_none()
            if ended is not None:
                entry = _session_entry(Action.SESSION_ENDED, ended.api_key_id, ended.name)
                await record_in_transaction(connection, entry)


async def _start(connection: AsyncConnection, key: ApiKey, key_digest: bytes, address: str) -> str:
    token = secrets.token_urlsafe(32)
    row = {
        "digest": digest_of(token),
        "api_key_id": key.id,
        "key_digest": key_digest,
        "address": address,
    }
    await connection.execute(_PRUNE)
    await connection.execute(sa.insert(sessions).values(row))
    await record_in_transaction(
        connection, _session_entry(Action.SESSION_STARTED, key.id, key.name)
    )
    return token


def _session_entry(action: Action, key_id: int, name: str) -> AuditEntry:
    return AuditEntry(action, "key", str(key_id), name, actor=f"web:{name}")
