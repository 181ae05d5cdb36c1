"""Who may change what, and who changed it: keys, sessions, stored responses, the audit log."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from daemon.domain.api_keys import Scope
from storage.tables.base import INSTANT, metadata, one_of_check

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("created_at", INSTANT, nullable=False, server_default=text("now()")),
    Column("last_used_at", INSTANT),
    Column("revoked_at", INSTANT),
    Column("expires_at", INSTANT),
    # The client address of the last use.
    Column("last_used_from", Text),
    # The secret before the last rotation, and the end of its use.
    Column("previous_digest", LargeBinary),
    Column("previous_until", INSTANT),
    UniqueConstraint("digest"),
    UniqueConstraint("previous_digest"),
    CheckConstraint("length(name) BETWEEN 1 AND 100", name="name"),
    CheckConstraint(one_of_check("scope", Scope), name="scope"),
    CheckConstraint("octet_length(digest) = 32", name="digest"),
    CheckConstraint(
        "octet_length(previous_digest) = 32"
        " AND (previous_digest IS NULL) = (previous_until IS NULL)",
        name="previous_digest",
    ),
    # A name may be used again once its key is revoked.
    Index("api_keys_name_idx", "name", unique=True, postgresql_where=text("revoked_at IS NULL")),
)
"""Keys for the HTTP API. ``digest`` is the key's SHA-256; the key itself is not stored."""

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("api_key_id", BigInteger, primary_key=True, autoincrement=False),
    Column("key", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("answer", JSONB, nullable=False),
    Column("created_at", INSTANT, nullable=False, server_default=text("now()")),
    Index("idempotency_keys_created_at_idx", "created_at"),
)
"""Responses to requests with an Idempotency-Key, written with the change itself."""

sessions = Table(
    "sessions",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("api_key_id", BigInteger, ForeignKey("api_keys.id", ondelete="CASCADE"), nullable=False),
    # The hash of the secret that started the session, which ends with that secret.
    Column("key_digest", LargeBinary, nullable=False),
    Column("address", Text),
    Column("created_at", INSTANT, nullable=False, server_default=text("now()")),
    Column("used_at", INSTANT, nullable=False, server_default=text("now()")),
    Index("sessions_used_at_idx", "used_at"),
)
"""Sessions of the console; ``digest`` is the SHA-256 of the cookie's token."""

login_links = Table(
    "login_links",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("api_key_id", BigInteger, ForeignKey("api_keys.id", ondelete="CASCADE"), nullable=False),
    # The hash of the key's secret when the link was made: a later secret ends the link.
    Column("key_digest", LargeBinary, nullable=False),
    Column("expires_at", INSTANT, nullable=False),
)
"""Links that log a browser in once; ``digest`` is the SHA-256 of the link's token."""

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", INSTANT, nullable=False, server_default=text("now()")),
    # The name of the API key, or of the operating system's user.
    Column("actor", Text, nullable=False),
    # The command, where a command made the change.
    Column("command", Text),
    Column("address", Text),
    Column("action", Text, nullable=False),
    # The type of the object, such as "campaign", its id and its name.
    Column("object", Text),
    Column("object_id", Text),
    Column("object_name", Text),
    Column("outcome", Text, nullable=False),
    Column("request_id", Text),
    Column("note", Text),
    CheckConstraint("outcome IN ('done', 'refused', 'failed')", name="outcome"),
    Index("audit_log_at_idx", "at"),
)
"""Who changed what; rows are only added, and pruned after ``history.audit_days``."""
