"""Checks that the current role has the privileges that campaignd needs, and says which it lacks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from storage.errors import PrivilegeMissing, StatementDenied, StorageError
from storage.privileges import APPLICATION, OBJECTS, Privilege

if TYPE_CHECKING:
    from storage.engine import Database

HINT = "docs/operations.md, Privileges"


def _privilege_binds(privileges: Iterable[Privilege]) -> dict[str, list[str]]:
    each = [(one.on, column, one.right) for one in privileges for column in one.columns or ("",)]
    objects, columns, rights = (list(values) for values in zip(*each, strict=True))
    return {"objects": objects, "columns": columns, "rights": rights}


_APPLICATION_BINDS = _privilege_binds(APPLICATION)

_FIND_PROBLEMS = sa.text(
    """
    WITH needed AS (
        SELECT n.*, c.oid, c.relname, c.relkind,
               (SELECT a.attnum FROM pg_attribute a
                WHERE a.attrelid = c.oid AND a.attname = n.column_name) AS attnum
        FROM unnest(CAST(:objects AS text[]), CAST(:columns AS text[]), CAST(:rights AS text[]))
             WITH ORDINALITY AS n (object, column_name, privilege, number)
        JOIN pg_class c ON c.oid = to_regclass(n.object)
        WHERE to_regclass('alembic_version') IS NOT NULL
    ), closed AS (
        SELECT n.nspname FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid
        WHERE c.relname = 'armed_timers' AND NOT has_schema_privilege(n.oid, 'USAGE')
          AND n.nspname IN (
              SELECT replace(trim(p, ' "'), '$user', current_user)
              FROM unnest(string_to_array(current_setting('search_path'), ',')) AS p)
    )
    SELECT current_user AS role, 'missing' AS problem, privilege AS right, relname AS name,
           CASE relkind WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view' ELSE 'table' END AS kind,
           number
    FROM needed
    WHERE NOT CASE WHEN relkind = 'S' THEN has_sequence_privilege(oid, privilege)
                   WHEN column_name <> '' THEN has_column_privilege(oid, attnum, privilege)
                   ELSE has_table_privilege(oid, privilege) END
    UNION ALL
    SELECT DISTINCT current_user, 'hidden', '', relname, 'table', 0 FROM needed
    WHERE relkind <> 'S' AND row_security_active(oid)
    UNION ALL
    SELECT current_user, 'missing', 'USAGE', nspname, 'schema', 0 FROM closed
    UNION ALL
    SELECT current_user, 'no schema', '', current_setting('search_path'), '', 0
    WHERE current_schema() IS NULL AND NOT EXISTS (SELECT FROM closed)
    UNION ALL
    SELECT current_user, 'role', '', '', '', 0
    ORDER BY number, name
    """
)
"""One row for each problem of the current role, and one that names the role."""

_DENIED = re.compile(
    r"""(?:permission denied for [a-z ]+|security policy(?: "[^"]*")? for table) "?(\w+)"""
)
"""The object's name in the server's refusal."""


_FIND_OBSTACLES = sa.text(
    """
    SELECT current_user AS role, n.nspname AS schema, current_setting('search_path') AS path,
           coalesce(has_schema_privilege(n.oid, 'CREATE'), false) AS creates,
           ARRAY(SELECT c.relname || ', which belongs to ' || pg_get_userbyid(c.relowner)
                 FROM unnest(CAST(:objects AS text[])) AS o (name)
                 JOIN pg_class c ON c.oid = to_regclass(o.name)
                 WHERE NOT pg_has_role(c.relowner, 'USAGE')
                 ORDER BY c.relname) AS foreign
    FROM (VALUES (1)) AS one LEFT JOIN pg_namespace n ON n.nspname = current_schema()
    """
)
"""What hinders the current role from migrating the schema."""


def require_privileges(connection: sa.Connection) -> str:
    """Return the name of the role, which has every privilege that campaignd needs.

    What does not exist yet is no problem: `require_schema` reports it.

    Raises:
        PrivilegeMissing: it lacks privileges, or row security hides rows from it.
    """
    rows = _find_problems(connection)
    _raise_problems(rows)
    return str(rows[0].role)


async def require_privileges_in(database: Database) -> None:
    """Like `require_privileges`, on a connection of its own."""
    async with database.statement() as opened:
        await opened.run_sync(require_privileges)


def require_visible_schema(connection: sa.Connection) -> None:
    """Raise PrivilegeMissing if the role could not see the schema if there were one."""
    _raise_problems(
        [
            row
            for row in _find_problems(connection)
            if row.problem == "no schema" or row.kind == "schema" or row.name == "alembic_version"
        ]
    )


def require_owner(connection: sa.Connection) -> None:
    """Raise PrivilegeMissing if the role may not create or alter what a migration needs."""
    found = connection.execute(_FIND_OBSTACLES, {"objects": sorted(OBJECTS)}).one()
    if not found.creates:
        raise PrivilegeMissing(
            f"the role {found.role} may not CREATE on schema {found.schema}", hint=HINT
        )
    if found.foreign:
        raise PrivilegeMissing(
            f"the role {found.role} may not alter {found.foreign[0]}",
            hint="upgrade with the role that owns the tables",
        )


def explain_denial(connection: sa.Connection, denied: StatementDenied) -> StorageError:
    """Return the server's refusal with the role and the rights that it lacks on the object.

    A role that has every privilege was refused a single row, by a trigger or a policy: that is a
    StatementDenied.
    """
    rows = _find_problems(connection)
    found = _DENIED.search(denied.detail)
    ours = [row for row in rows if found is not None and row.name == found[1]]
    if missing := "; ".join(_describe_problems(ours)):
        return PrivilegeMissing(missing, hint=HINT)
    return StatementDenied(f"the role {rows[0].role} may not do this: {denied.detail}")


def _find_problems(connection: sa.Connection) -> Sequence[Any]:
    return connection.execute(_FIND_PROBLEMS, _APPLICATION_BINDS).all()


def _raise_problems(rows: Sequence[Any]) -> None:
    if problems := "; ".join(_describe_problems(rows)):
        raise PrivilegeMissing(problems, hint=HINT)


def _describe_problems(rows: Sequence[Any]) -> Iterator[str]:
    """Yield a sentence for each kind of problem."""
    by_problem = {
        problem: [row for row in rows if row.problem == problem]
        for problem in ("no schema", "missing", "hidden")
    }
    for row in by_problem["no schema"]:
        yield f"the search_path of the role {row.role} names no schema that exists: '{row.name}'"
    if missing := by_problem["missing"]:
        phrases = [
            f"{', '.join(dict.fromkeys(row.right for row in group))} on {kind} {name}"
            for (kind, name), group in groupby(missing, lambda row: (row.kind, row.name))
        ]
        yield f"the role {missing[0].role} may not {', '.join(phrases)}"
    if hidden := by_problem["hidden"]:
        names = ", ".join(row.name for row in hidden)
        yield f"row security hides rows of {names} from the role {hidden[0].role}"
