"""The compatible releases of a schema version, and an index for runs of a rare status."""

from __future__ import annotations

from alembic import op

from storage.migrate import migration_statements

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

compatible_since = "0002"
"""The migration only adds: every column of the release before stays."""


def upgrade() -> None:
    """Add a table and two columns; the statements are frozen in ``v0003_side_by_side.sql``.

    The generated column rewrites ``runs``; no event is claimed during the rewrite.
    """
    for statement in migration_statements("v0003_side_by_side.sql"):
        op.execute(statement)


def downgrade() -> None:
    """Drop the additions; no campaign, schedule or run is lost."""
    op.execute("ALTER TABLE nodes DROP COLUMN schema_version")
    op.execute("ALTER TABLE runs DROP COLUMN rare_status")
    op.execute("DROP TABLE schema_versions")
