"""The targets whose circuits an operator has closed."""

from __future__ import annotations

from alembic import op

from storage.migrate import migration_statements

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

compatible_since = "0005"
"""The migration only adds a table."""


def upgrade() -> None:
    """Add the table; the statement is frozen in ``v0011_target_resumes.sql``."""
    for statement in migration_statements("v0011_target_resumes.sql"):
        op.execute(statement)


def downgrade() -> None:
    """Drop the table."""
    op.execute("DROP TABLE target_resumes")
