"""Links that log a browser in to the console once."""

from __future__ import annotations

from alembic import op

from storage.migrate import migration_statements

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

compatible_since = "0005"
"""The migration only adds a table."""


def upgrade() -> None:
    """Add the table; the statements are frozen in ``v0008_login_links.sql``."""
    for statement in migration_statements("v0008_login_links.sql"):
        op.execute(statement)


def downgrade() -> None:
    """Drop the table; links that were not opened end with it."""
    op.execute("DROP TABLE login_links")
