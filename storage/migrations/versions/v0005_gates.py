"""Freezes, held occurrences, calendars, and instants at which occurrences are due later."""

from __future__ import annotations

from alembic import op

from storage.migrate import migration_statements

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

compatible_since = "0005"
"""An older node would ignore a freeze and a send window, so all nodes stop for this migration."""


def upgrade() -> None:
    """Add tables and columns; the statements are frozen in ``v0005_gates.sql``."""
    for statement in migration_statements("v0005_gates.sql"):
        op.execute(statement)


def downgrade() -> None:
    """Drop the additions. Held occurrences are decided first: an older release has none."""
    op.execute(
        "DO $$ BEGIN IF EXISTS (SELECT FROM campaigns WHERE held_runs > 0) THEN RAISE EXCEPTION"
        " 'runs are held before their first attempt; release or drop them first'; END IF; END $$"
    )
    for view in ("armed_timers", "schedules"):
        op.execute(f"DROP VIEW {view}")
    for table in ("schedule_calendars", "calendar_closed", "calendars", "control", "brakes"):
        op.execute(f"DROP TABLE {table}")
    for table, column in (
        ("nodes", "targets"),
        ("nodes", "applied_to"),
        ("nodes", "beats"),
        ("runs", "open_until"),
        ("runs", "due_at"),
        ("timers", "scheduled_for"),
        ("schedule_definitions", "conditions"),
        ("campaigns", "held_runs"),
    ):
        op.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    for statement in migration_statements("v0001_initial.sql"):
        if statement.startswith("CREATE VIEW"):
            op.execute(statement)
