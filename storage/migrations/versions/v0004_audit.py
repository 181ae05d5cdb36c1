"""The audit log, sessions of the page, and keys that expire, rotate or serve workers alone."""

from __future__ import annotations

from alembic import op

from storage.migrate import migration_statements

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

compatible_since = "0002"
"""The migration only adds: every column of the releases before stays."""


def upgrade() -> None:
    """Add two tables and four columns; the statements are frozen in ``v0004_audit.sql``."""
    for statement in migration_statements("v0004_audit.sql"):
        op.execute(statement)


def downgrade() -> None:
    """Drop the additions, the audit log and the keys of workers included."""
    op.execute("DELETE FROM api_keys WHERE scope = 'worker'")
    op.execute("ALTER TABLE api_keys DROP CONSTRAINT api_keys_scope_check")
    op.execute(
        "ALTER TABLE api_keys ADD CONSTRAINT api_keys_scope_check CHECK"
        " (scope IN ('read', 'write', 'admin'))"
    )
    for column in ("previous_until", "previous_digest", "last_used_from", "expires_at"):
        op.execute(f"ALTER TABLE api_keys DROP COLUMN {column}")
    op.execute("DROP TABLE sessions")
    op.execute("DROP TABLE audit_log")
