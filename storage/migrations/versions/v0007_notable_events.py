"""An index of the events that are no ordinary start or end of a run."""

from __future__ import annotations

from alembic import op

from storage.migrate import migration_statements

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

compatible_since = "0005"
"""The migration only adds an index."""


def upgrade() -> None:
    """Add the index; the statement is frozen in ``v0007_notable_events.sql``.

    No event is written while it is built: about a second for each million of events.
    """
    for statement in migration_statements("v0007_notable_events.sql"):
        op.execute(statement)


def downgrade() -> None:
    """Drop the index."""
    op.execute("DROP INDEX campaign_events_notable_idx")
