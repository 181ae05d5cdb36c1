"""Pauses that end by themselves."""

from __future__ import annotations

from alembic import op

from storage.migrate import migration_statements

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

compatible_since = "0005"
"""A node of the release before works on: it leaves the end of pauses to newer ones."""


def upgrade() -> None:
    """Add a column and its index; the statements are frozen in ``v0009_pauses.sql``."""
    for statement in migration_statements("v0009_pauses.sql"):
        op.execute(statement)


def downgrade() -> None:
    """Drop the addition: pauses last until the campaigns are started."""
    op.execute("ALTER TABLE campaigns DROP COLUMN paused_until")
