"""Keys of the scope feed."""

from __future__ import annotations

from alembic import op

from storage.migrate import migration_statements

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

compatible_since = "0005"
"""A node of the release before refuses keys of the new scope, and serves no feed."""


def upgrade() -> None:
    """Allow the scope; the statements are frozen in ``v0010_feed_keys.sql``."""
    for statement in migration_statements("v0010_feed_keys.sql"):
        op.execute(statement)


def downgrade() -> None:
    """Delete the keys of the scope, and forbid it."""
    op.execute("DELETE FROM api_keys WHERE scope = 'feed'")
    op.execute("ALTER TABLE api_keys DROP CONSTRAINT api_keys_scope_check")
    op.execute(
        "ALTER TABLE api_keys ADD CONSTRAINT api_keys_scope_check CHECK"
        " (scope IN ('read', 'write', 'admin', 'worker'))"
    )
