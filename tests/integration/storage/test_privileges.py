"""The roles of `campaignd db roles` have what they need, and an error names what a role lacks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa

from daemon.campaign_service import CampaignService
from daemon.domain.campaign.model import Campaign
from daemon.domain.campaign.state_machine import Status
from daemon.domain.schedule.schedule import CampaignType
from storage import migrate
from storage.campaigns import Campaigns
from storage.engine import Database
from storage.errors import PrivilegeMissing, StatementDenied
from storage.privilege_checks import require_privileges
from storage.privileges import APPLICATION, OBJECTS, READ_ONLY, WORKER, Privilege
from storage.roles import roles_sql
from storage.schema import HEAD, require_schema
from storage.tables import metadata
from storage.views import VIEWS
from tests.support.postgres import url_for_application, url_for_role

DOCUMENT = Path(__file__).parents[3] / "docs" / "targets.md"


@pytest.fixture
def superuser(superuser_url: str) -> Iterator[psycopg.Connection]:
    """A session of the administrator."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def administrator(empty_database_url: str) -> Iterator[str]:
    """The URL of an administrator who owns the database and may make roles, but is no superuser."""
    name = f"admin_{uuid4().hex}"
    with psycopg.connect(empty_database_url, autocommit=True) as superuser:
        database = superuser.info.dbname
        superuser.execute(f"CREATE ROLE {name} LOGIN CREATEROLE".encode())
        superuser.execute(f"ALTER DATABASE {database} OWNER TO {name}".encode())
        yield url_for_role(empty_database_url, name)
        superuser.execute(f"ALTER DATABASE {database} OWNER TO CURRENT_USER".encode())
        for role in ("owner", "app", "worker", "readonly"):
            superuser.execute(f"DROP OWNED BY {name}_{role}; DROP ROLE {name}_{role}".encode())
        superuser.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())


async def refusal(url: str) -> str:
    """Return the line with which a start is refused."""
    with pytest.raises(PrivilegeMissing) as caught:
        await role_of(url)
    assert "\n" not in str(caught.value)
    assert "sqlalche.me" not in str(caught.value)
    return str(caught.value)


async def role_of(url: str) -> str:
    """Return the role, which may start a daemon."""
    database = Database(url, pool_size=1)
    try:
        async with database.statement() as connection:
            role = await connection.run_sync(require_privileges)
            await require_schema(connection)
            return role
    finally:
        await database.close()


def test_every_table_view_and_sequence_is_declared() -> None:
    sequences = {"campaigns_id_seq", "schedule_revision_seq"}
    assert metadata.tables.keys() | VIEWS.keys() | sequences | {"alembic_version"} == OBJECTS


async def test_the_application_has_its_privileges(database_url: str) -> None:
    assert await role_of(database_url) == "campaignd_app"


@pytest.mark.parametrize("privilege", APPLICATION, ids=str)
async def test_a_missing_privilege_is_named(
    superuser: psycopg.Connection, database_url: str, privilege: Privilege
) -> None:
    """By right, object and role."""
    kind = {"_seq": "sequence"}.get(privilege.on[-4:], "view" if privilege.on in VIEWS else "table")
    columns = f"({', '.join(privilege.columns)})" if privilege.columns else ""
    superuser.execute(
        f"REVOKE {privilege.right} {columns} ON {kind.replace('view', 'table')} {privilege.on}"
        " FROM campaignd_app".encode()
    )
    expected = f"the role campaignd_app may not {privilege.right} on {kind} {privilege.on}"
    assert await refusal(database_url) == expected


async def test_all_missing_privileges_are_in_one_line(
    superuser: psycopg.Connection, database_url: str
) -> None:
    superuser.execute("REVOKE INSERT, UPDATE ON runs FROM campaignd_app")
    superuser.execute("REVOKE USAGE ON SEQUENCE campaigns_id_seq FROM campaignd_app")
    superuser.execute("ALTER TABLE runs ENABLE ROW LEVEL SECURITY")
    assert await refusal(database_url) == (
        "the role campaignd_app may not INSERT, UPDATE on table runs,"
        " USAGE on sequence campaigns_id_seq;"
        " row security hides rows of runs from the role campaignd_app"
    )


async def test_row_security_of_every_table_is_reported(
    superuser: psycopg.Connection, database_url: str
) -> None:
    """Also of the table that has the schema's version, which then looks empty."""
    tables = sorted({*metadata.tables, "alembic_version"})
    for table in tables:
        superuser.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY".encode())
    found = await refusal(database_url)
    assert found == (f"row security hides rows of {', '.join(tables)} from the role campaignd_app")
    with pytest.raises(PrivilegeMissing, match="row security hides rows of alembic_version"):
        migrate.current_schema(database_url)


async def test_a_closed_schema_is_no_missing_schema(
    superuser: psycopg.Connection, database_url: str
) -> None:
    superuser.execute("REVOKE USAGE ON SCHEMA public FROM PUBLIC, campaignd_app")
    expected = "the role campaignd_app may not USAGE on schema public"
    assert await refusal(database_url) == expected
    with pytest.raises(PrivilegeMissing, match=expected):
        migrate.current_schema(database_url)


@pytest.mark.parametrize("path", ["nothing", ""])
async def test_a_search_path_without_a_schema_is_reported(database_url: str, path: str) -> None:
    """For the start as for a migration."""
    url = f"{database_url}&options=-c%20search_path%3D{path}"
    assert await refusal(url) == (
        f"the search_path of the role campaignd_app names no schema that exists: '{path}'"
    )
    with pytest.raises(PrivilegeMissing, match="names no schema that exists"):
        migrate.upgrade(url)


async def test_a_refused_statement_names_role_right_and_object(
    superuser: psycopg.Connection, database_url: str
) -> None:
    """Also one that no start has foreseen, such as a revoked privilege."""
    superuser.execute("REVOKE INSERT ON campaign_events FROM campaignd_app")
    database = Database(database_url)
    draft = Campaign(0, uuid4(), "a campaign", CampaignType.ONE_TIME, Status.DRAFT)
    try:
        with pytest.raises(
            PrivilegeMissing, match=r"^the role campaignd_app may not INSERT on table campaign_ev"
        ):
            await CampaignService(Campaigns(database)).create(draft, "test")
    finally:
        await database.close()


async def test_a_row_that_row_security_refuses(
    superuser: psycopg.Connection, database_url: str
) -> None:
    superuser.execute("ALTER TABLE nodes ENABLE ROW LEVEL SECURITY")
    database = Database(database_url, pool_size=1)
    try:
        with pytest.raises(PrivilegeMissing, match=r"^row security hides rows of nodes from the"):
            await database.rows(sa.text(_NODE))
    finally:
        await database.close()


async def test_a_row_that_a_trigger_refuses_is_no_missing_privilege(
    superuser: psycopg.Connection, database_url: str
) -> None:
    """So a claim of it fails alone, and is not waited for."""
    superuser.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN RAISE insufficient_privilege USING MESSAGE = 'not this one'; END $$;"
        "CREATE TRIGGER refuse BEFORE INSERT ON nodes FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    database = Database(database_url, pool_size=1)
    try:
        with pytest.raises(StatementDenied) as caught:
            await database.rows(sa.text(_NODE))
    finally:
        await database.close()
    assert str(caught.value) == "the role campaignd_app may not do this: not this one"


_NODE = (
    "INSERT INTO nodes (id, name, host, pid, version, tzdata, started_at, heartbeat_at,"
    " lease_until, oldest_claim_at) VALUES ('a', 'a', 'a', 1, '', '', now(), now(), now(), now())"
)


@pytest.mark.usefixtures("template_database")
def test_a_role_that_may_not_create_tables_migrates_nothing(empty_database_url: str) -> None:
    with pytest.raises(
        PrivilegeMissing, match=r"^the role campaignd_app may not CREATE on schema public$"
    ):
        migrate.upgrade(url_for_application(empty_database_url))


@pytest.mark.usefixtures("template_database")
def test_only_the_owner_migrates(empty_database_url: str) -> None:
    """The error names the owner of the tables."""
    migrate.upgrade(empty_database_url, "0003")
    with psycopg.connect(empty_database_url, autocommit=True) as superuser:
        for table in ("alembic_version", "schema_versions"):
            superuser.execute(f"GRANT SELECT ON {table} TO campaignd_app".encode())
        superuser.execute("GRANT CREATE ON SCHEMA public TO campaignd_app")
    with pytest.raises(
        PrivilegeMissing, match=r"^the role campaignd_app may not alter alembic_version, which "
    ):
        migrate.upgrade(url_for_application(empty_database_url))
    assert migrate.current_schema(empty_database_url).version == "0003"


async def test_an_administrator_without_superuser_makes_the_roles(administrator: str) -> None:
    """Twice; the owner may run the SQL after an upgrade of its own."""
    prefix = psycopg.conninfo.conninfo_to_dict(administrator)["user"]
    owner, app = (url_for_role(administrator, f"{prefix}_{role}") for role in ("owner", "app"))
    migrate.upgrade(administrator, "0003")
    migrate.upgrade(administrator)
    for each in (administrator, administrator, owner):
        with psycopg.connect(each, autocommit=True) as connection:
            connection.execute(roles_sql(prefix).encode())
    migrate.upgrade(owner)
    assert await role_of(app) == f"{prefix}_app"
    assert migrate.current_schema(app).version == HEAD
    with psycopg.connect(administrator) as connection:
        owners = connection.execute(
            "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
    assert owners == [(f"{prefix}_owner",)]


@pytest.mark.parametrize(
    ("role", "allowed"), [("worker", WORKER), ("readonly", READ_ONLY), ("app", APPLICATION)]
)
def test_a_role_has_no_other_privileges(
    superuser: psycopg.Connection, role: str, allowed: tuple[Privilege, ...]
) -> None:
    found = superuser.execute(
        "SELECT table_name, column_name, privilege_type FROM information_schema.column_privileges"
        " WHERE grantee = %s AND table_schema = 'public' UNION ALL"
        " SELECT table_name, '', privilege_type FROM information_schema.table_privileges"
        " WHERE grantee = %s AND table_schema = 'public' AND privilege_type = 'DELETE'",
        [f"campaignd_{role}"] * 2,
    ).fetchall()
    columns = {
        name: [
            row[0]
            for row in superuser.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0",
                [name],
            )
        ]
        for name in OBJECTS
    }
    expected = {
        (one.on, column, one.right)
        for one in allowed
        if not one.on.endswith("_seq")
        for column in ([""] if one.right == "DELETE" else one.columns or columns[one.on])
    }
    assert set(found) == expected


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("worker", "UPDATE campaigns SET target = 'x'"),
        ("worker", "UPDATE campaigns SET payload = '{}'"),
        ("worker", "UPDATE campaigns SET status = 'draft'"),
        ("worker", "UPDATE runs SET scheduled_for = now()"),
        ("worker", "SELECT FROM api_keys"),
        ("readonly", "SELECT digest FROM api_keys"),
        ("readonly", "SELECT previous_digest FROM api_keys"),
        ("readonly", "SELECT FROM sessions"),
        ("readonly", "SELECT FROM idempotency_keys"),
        ("readonly", "DELETE FROM runs"),
        ("app", "UPDATE audit_log SET actor = 'x'"),
        ("app", "UPDATE campaign_events SET actor = 'x'"),
        ("app", "DELETE FROM api_keys"),
        ("app", "CREATE TABLE x ()"),
        ("app", "TRUNCATE runs"),
    ],
)
def test_what_a_role_may_not_do(superuser_url: str, role: str, statement: str) -> None:
    with (
        psycopg.connect(url_for_role(superuser_url, f"campaignd_{role}")) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())


def test_the_documented_grant_is_that_of_the_worker() -> None:
    (documented,) = re.findall(r"-- grant: .*?\n(.*?)```", DOCUMENT.read_text("utf-8"), re.S)
    script = roles_sql("campaignd")
    granted = re.findall(r"^GRANT [^;]* TO campaignd_worker;$", script, re.M)
    assert documented.split() == " ".join(granted).replace("campaignd_worker", "sender").split()
