"""${message}"""

from __future__ import annotations

from alembic import op

from storage.migrate import migration_statements

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None

# The oldest version whose release works on this one: that of the migration before if this one only
# adds; ${repr(up_revision)} or one between if it takes away what an older release uses.
compatible_since = ...


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
