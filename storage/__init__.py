"""PostgreSQL: schema, migrations, statements, notifications, the embedded server.

Invariants: no SQL lives outside this package; what it returns are domain values, never rows; driver
errors leave it as `storage.errors`. The only home of SQLAlchemy, psycopg, Alembic and the embedded
server. May import `daemon.domain` and its ports.
"""
