"""Which releases can work on the database, and an index for runs of a rare status."""

from __future__ import annotations

from alembic import op

from storage.migrate import statements

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

compatible_since = "0002"
"""It only adds: what the release before writes and reads is still there."""


def upgrade() -> None:
    """Add a table and two columns; the statements are frozen in ``v0003_side_by_side.sql``.

    The generated column writes ``runs`` anew, during which nothing is claimed.
    """
    for statement in statements("v0003_side_by_side.sql"):
        op.execute(statement)


def downgrade() -> None:
    """Drop them; no campaign, schedule or run is lost."""
    op.execute("ALTER TABLE nodes DROP COLUMN schema_version")
    op.execute("ALTER TABLE runs DROP COLUMN rare_status")
    op.execute("DROP TABLE schema_versions")
