"""The findings of the auditor, and since when each schedule owes its occurrences."""

from __future__ import annotations

from alembic import op

from storage.migrate import migration_statements

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

compatible_since = "0005"
"""The migration only adds: every column of the releases before stays."""


def upgrade() -> None:
    """Add a table and a column; the statements are frozen in ``v0006_auditor.sql``."""
    for statement in migration_statements("v0006_auditor.sql"):
        op.execute(statement)


def downgrade() -> None:
    """Drop the additions, the findings included."""
    op.execute("DROP TABLE audit_findings")
    op.execute("ALTER TABLE schedule_definitions DROP COLUMN armed_from")
