"""The SQL that makes campaignd's roles: an owner, an application, a worker and a reader."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby

from storage.privileges import APPLICATION, OBJECTS, READ_ONLY, WORKER, Privilege
from storage.schema import HEAD

_SEQUENCES = frozenset(name for name in OBJECTS if name.endswith("_seq"))


def roles_sql(prefix: str) -> str:
    """Return the SQL, which may be run again.

    Args:
        prefix: of the roles' names, an SQL name without quotes.
    """
    granted = {
        f"{prefix}_app": APPLICATION,
        f"{prefix}_worker": WORKER,
        f"{prefix}_readonly": READ_ONLY,
    }
    owner, others = f"{prefix}_owner", ", ".join(granted)
    # The owner of a table owns the sequence of its identity column.
    owned = _quoted_list(sorted(OBJECTS - {"campaigns_id_seq"}))
    tables, sequences = ", ".join(sorted(OBJECTS - _SEQUENCES)), ", ".join(sorted(_SEQUENCES))
    return _SCRIPT.format(
        version=HEAD,
        owner=owner,
        others=others,
        names=_wrap(_quoted_list([owner, *granted]), indent=8),
        owned=_wrap(owned, indent=12),
        revoked_tables=_wrap(f"REVOKE ALL ON {tables} FROM PUBLIC, {others};"),
        revoked_sequences=_wrap(f"REVOKE ALL ON SEQUENCE {sequences} FROM PUBLIC, {others};"),
        grants="\n\n".join(
            "\n".join(_wrap(f"GRANT {rights} TO {role};") for rights in _grant_phrases(privileges))
            for role, privileges in granted.items()
        ),
    )


def _grant_phrases(privileges: tuple[Privilege, ...]) -> Iterator[str]:
    """Yield the rights on each object, as GRANT has them."""
    for on, group in groupby(privileges, lambda privilege: privilege.on):
        kind = "SEQUENCE " if on in _SEQUENCES else ""
        rights = (
            f"{one.right} ({', '.join(one.columns)})" if one.columns else one.right for one in group
        )
        yield f"{', '.join(rights)} ON {kind}{on}"


def _quoted_list(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _wrap(text: str, indent: int = 4) -> str:
    """Return text in lines of a hundred columns, the later ones indented."""
    return textwrap.fill(text, 100 - indent, subsequent_indent=" " * indent)


_SCRIPT = """\
-- The roles of campaignd, for schema {version}. Run this as an administrator of the database, after
-- each `campaignd db upgrade`. New roles have no password: \\password {owner}
BEGIN;

DO $$
DECLARE
    role text;
    relation regclass;
BEGIN
    FOREACH role IN ARRAY ARRAY[
        {names}
    ] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', role);
        END IF;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), role);
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), role);
    END LOOP;
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC', current_schema());
    EXECUTE format('GRANT CREATE ON SCHEMA %I TO {owner}', current_schema());
    -- An administrator who is no superuser gives objects only to a role that it belongs to.
    IF NOT pg_has_role('{owner}', 'USAGE') THEN
        GRANT {owner} TO CURRENT_USER;
    END IF;
    FOR relation IN
        SELECT c.oid FROM pg_class c
        WHERE c.relowner <> '{owner}'::regrole AND c.oid = ANY (ARRAY[
            {owned}
        ]::regclass[])
    LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO {owner}', relation);
    END LOOP;
END
$$;

{revoked_tables}
{revoked_sequences}

{grants}

COMMIT;
"""
