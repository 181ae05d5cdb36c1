"""The schema version of a database, and whether this release can work on it.

Versions are compared as text: four digits each. A release works on the newest schema that it knows
(``HEAD``), and on every later schema that is recorded as compatible since ``HEAD`` or earlier. So
two releases share a database while one replaces the other (docs/operations.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.domain.read_models import SchemaInfo
from storage.engine import Database
from storage.errors import SchemaOutOfDate, UnsuitableDatabase
from storage.privilege_checks import require_visible_schema

HEAD = "0011"
"""The newest schema that this release knows; a test compares it with the newest migration."""

FIRST_RECORDED = "0003"
"""The first version that records since which version it is compatible."""

UNRECORDED = "0002"
"""The newest schema known to a node that records none in ``nodes``."""

_HAS_TABLES = sa.text(
    "SELECT to_regclass('alembic_version') IS NOT NULL AS versioned,"
    " to_regclass('schema_versions') IS NOT NULL AS recorded,"
    " to_regclass('schedule_definitions') IS NOT NULL AS has_own"
)
# Another program's table may lack the column.
_VERSION = sa.text(
    "SELECT to_jsonb(a) ->> 'version_num' AS version, NULL AS compatible_since"
    " FROM alembic_version a"
)
_RECORDED = sa.text(
    "SELECT a.version_num AS version, s.compatible_since"
    " FROM alembic_version a LEFT JOIN schema_versions s ON s.version = a.version_num"
)
OWN_DATABASE = "give campaignd a database of its own, or a schema alone in the search_path"


@dataclass(frozen=True, slots=True)
class Schema:
    """A database's schema; ``version`` is None when the database was never migrated."""

    version: str | None
    compatible_since: str | None = None

    @property
    def is_newer(self) -> bool:
        """Whether a later release has migrated the database."""
        return self.version is not None and self.version > HEAD

    @property
    def is_compatible(self) -> bool:
        """Whether this release can work on the schema."""
        if not self.is_newer:
            return self.version == HEAD
        return self.compatible_since is not None and self.compatible_since <= HEAD

    def require_compatible(self) -> Schema:
        """Return the schema. Raises SchemaOutOfDate, with advice, if it is not compatible."""
        if self.is_compatible:
            return self
        if self.version is None:
            raise SchemaOutOfDate(
                f"the database has no campaignd schema; this release needs version {HEAD}",
                hint="run: campaignd db upgrade",
            )
        if not self.is_newer:
            raise SchemaOutOfDate(
                f"the database's schema is version {self.version};"
                f" this release needs version {HEAD}",
                hint="run: campaignd db upgrade",
            )
        since = self.compatible_since or self.version
        raise SchemaOutOfDate(
            f"the database's schema is version {self.version}, which needs a release that knows"
            f" {since} or later; this one knows {HEAD}",
            hint="run the newer release of campaignd that migrated it",
        )

    def info(self) -> SchemaInfo:
        """The schema as a plain value."""
        return SchemaInfo(self.version, self.compatible_since, self.is_newer)

    def __str__(self) -> str:
        """The version and its meaning for this release, for operators."""
        if self.version == HEAD:
            return HEAD
        if not self.is_newer:
            return f"{self.version or 'none'}, this release needs {HEAD}: run campaignd db upgrade"
        relation = "compatible since" if self.is_compatible else "which needs"
        since = self.compatible_since or self.version
        return f"{self.version}, newer than this release's {HEAD}, {relation} {since}"


def describe_schema(info: SchemaInfo) -> str:
    """Return the version and its meaning for this release, for operators."""
    return str(Schema(info.version, info.compatible_since))


async def read_schema_async(connection: AsyncConnection) -> Schema:
    """Return the database's schema. Raises UnsuitableDatabase for that of another program."""
    return await connection.run_sync(read_schema)


def read_schema(connection: sa.Connection) -> Schema:
    """Return the database's schema. Raises UnsuitableDatabase for that of another program."""
    has = connection.execute(_HAS_TABLES).one()
    if not has.versioned:
        return Schema(None)
    is_own = has.has_own and has.recorded
    found = connection.execute(_RECORDED if is_own else _VERSION).all()
    if not found:
        return Schema(None)
    version: str | None = found[0].version
    is_known = version is not None and re.fullmatch(r"[0-9]{4}", version)
    if len(found) > 1 or not is_known or not has.has_own:
        raise UnsuitableDatabase(
            f"the database has the schema of another program (alembic_version {version})",
            hint=OWN_DATABASE,
        )
    return Schema(version, found[0].compatible_since)


async def require_schema_in(database: Database) -> SchemaInfo:
    """Like `require_schema`, on a connection of its own."""
    async with database.statement() as connection:
        return (await require_schema(connection)).info()


async def require_schema(connection: AsyncConnection) -> Schema:
    """Return the database's schema.

    Raises:
        SchemaOutOfDate: it is not compatible.
        PrivilegeMissing: the role cannot see it.
    """
    found = await read_schema_async(connection)
    if found.version is None:
        await connection.run_sync(require_visible_schema)
    return found.require_compatible()
