"""Authentication and authorization: keys, scopes and revocation, on every route."""

from __future__ import annotations

import asyncio
import base64
import subprocess
from datetime import timedelta
from typing import Any

import httpx
import pytest

from daemon.domain.api_keys import Scope
from storage.api_keys import ApiKeys
from storage.engine import Database
from tests.support.api_server import (
    TIMEOUT_S,
    RunningApi,
    get_without_key,
    instant_ahead,
    request_text,
    running_server,
)
from tests.support.in_process import run_campaignd
from tests.support.processes import Daemons
from tests.support.waiting import wait_until


def basic(text: str | bytes) -> str:
    """Return the value of a Basic Authorization header."""
    return "Basic " + base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def operations(api: RunningApi) -> list[tuple[str, str]]:
    """Return every method and path under /api/v1, with values for the path parameters."""
    spec = get_without_key(f"{api.url}/openapi.json").json()
    found = []
    for path, item in spec["paths"].items():
        if path.startswith("/api/"):
            for name in ("ref", "campaign_id", "campaign_uuid", "key_id"):
                path = path.replace("{" + name + "}", "1")
            path = path.replace("{run_id}", "3f1c6d6e-0f0a-5d6b-8f59-0d6a9d1b7c11")
            found += [(method.upper(), path) for method in item]
    return found


def test_bearer_and_basic_are_accepted(api: RunningApi) -> None:
    """Both schemes are accepted, with any case of the scheme's name."""
    key = api.keys[Scope.READ]
    for value in (f"Bearer {key}", f"bearer {key}", basic(f"{key}:")):
        headers = {"Authorization": value}
        assert get_without_key(f"{api.url}/api/v1/upcoming", headers=headers).status_code == 200


def invalid_headers(api: RunningApi) -> list[Any]:
    """Return headers without a valid key."""
    key = api.keys[Scope.ADMIN]
    return [
        [],
        [("Authorization", "")],
        [("Authorization", key)],
        [("Authorization", "Bearer")],
        [("Authorization", f"Bearer {key}x")],
        [("Authorization", f"Bearer {key[:-1]}")],
        [("Authorization", f"Bearer {key} {key}")],
        [("Authorization", f"Digest {key}")],
        [("Authorization", "Bearer cdk_" + "A" * 43)],
        [("Authorization", "Bearer clé".encode())],
        [("Authorization", b"Bearer \xff\xfe")],
        [("Authorization", basic(key))],
        [("Authorization", basic(f"{key}:secret"))],
        [("Authorization", basic(f"{key}::"))],
        [("Authorization", basic(f":{key}"))],
        [("Authorization", basic(b"\xc3\xa9:"))],
        [("Authorization", "Basic !!!")],
        [("Authorization", "Basic " + basic(f"{key}:")[6:-3])],
        [("Authorization", "Basic")],
        [("Authorization", f"Bearer {key}"), ("Authorization", f"Bearer {key}")],
        [("X-Api-Key", key)],
    ]


def test_invalid_keys_are_refused(api: RunningApi) -> None:
    """Each is refused with 401, the fixed message and a challenge."""
    for headers in invalid_headers(api):
        response = get_without_key(f"{api.url}/api/v1/campaigns", headers=headers)
        assert response.status_code == 401, headers
        assert response.json()["message"] == "Not authorized"
        # A browser that is asked for Basic sends the key with forms of other sites too.
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="campaignd"'
    query = f"{api.url}/api/v1/campaigns?token={api.keys[Scope.ADMIN]}"
    assert get_without_key(query).status_code == 401


def all_rows(api: RunningApi) -> list[Any]:
    """Return all rows that the API could change."""
    tables = ("campaigns", "schedule_definitions", "runs", "campaign_events", "api_keys")
    return [api.database.rows(f"SELECT * FROM {table} t ORDER BY t::text") for table in tables]


def test_no_route_works_without_a_key(api: RunningApi) -> None:
    """Without a valid key, no route returns or changes data."""
    api.create_armed_campaign()
    # The use of a key is recorded in the background, and not again for a minute.
    for scope in (Scope.READ, Scope.WRITE, Scope.ADMIN):
        with api.client(scope) as client:
            assert client.get("/upcoming").status_code == 200
    api.database.wait_until(
        "SELECT bool_and(last_used_at IS NOT NULL) FROM api_keys"
        " WHERE name = ANY ('{the read key,the write key,the admin key}')"
    )
    before = all_rows(api)
    body = {"schedule_type": "immediate", "name": "x", "scope": "admin"}
    with httpx.Client(timeout=TIMEOUT_S) as stranger:
        for method, path in operations(api):
            for headers in ({}, {"Authorization": "Bearer cdk_wrong"}):
                response = stranger.request(method, api.url + path, headers=headers, json=body)
                assert response.status_code == 401, (method, path)
                assert response.json().keys() == {"message", "detail"}
    assert all_rows(api) == before


def test_scopes_are_enforced(api: RunningApi) -> None:
    """A larger scope includes a smaller one; an insufficient scope is refused before any read."""
    with api.client(Scope.READ) as reader, api.client(Scope.WRITE) as writer:
        for method, path in operations(api):
            path = path.removeprefix("/api/v1").replace("/1", "/0").replace("3f1c", "0000")
            is_reading = method == "GET" or path.endswith("preview")
            is_admin = path.startswith(("/keys", "/audit-log", "/thaw"))
            response = reader.request(method, path, content=b"{")
            expected = 403 if is_admin or not is_reading else None
            assert (response.status_code == 403) == (expected == 403), (method, path, response.text)
            if expected == 403:
                assert response.json()["message"] == "Permission denied"
            response = writer.request(method, path, content=b"{")
            assert (response.status_code == 403) == is_admin, (method, path, response.text)


def test_the_scope_worker_allows_only_what_finishes_runs(api: RunningApi) -> None:
    """A worker reads its run, extends its lease and reports its result; all else is refused."""
    allowed = {("GET", ""), ("POST", "complete"), ("POST", "fail"), ("POST", "heartbeat")}
    with api.client(Scope.WORKER) as worker:
        for method, path in operations(api):
            path = path.removeprefix("/api/v1")
            response = worker.request(method, path, content=b"{")
            verb = path.removeprefix("/runs/3f1c6d6e-0f0a-5d6b-8f59-0d6a9d1b7c11").strip("/")
            is_allowed = path.startswith("/runs/") and (method, verb) in allowed
            assert (response.status_code == 403) != is_allowed, (method, path, response.text)
        refused = worker.get("/campaigns").json()
        assert refused["detail"] == (
            "the scope read is required; the key 'the worker key' has the scope worker"
        )


def test_a_key_of_a_worker_is_created_over_http_and_listed(api: RunningApi) -> None:
    with api.client(Scope.ADMIN) as admin:
        made = admin.post("/keys", json={"name": "sender", "scope": "worker"})
        assert (made.status_code, made.json()["scope"]) == (201, "worker")
        assert "worker" in {key["scope"] for key in admin.get("/keys").json()["items"]}


def test_a_revoked_key_is_refused_at_once(
    api: RunningApi, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A revoked key is refused from the next request on, on every node."""
    directory = tmp_path_factory.mktemp("second")
    with running_server(directory, api.database.url, "api", api.keys) as second:
        secret = api.create_key("to be revoked", Scope.READ)
        headers = {"Authorization": f"Bearer {secret}"}
        for url in (api.url, second.url):
            assert get_without_key(f"{url}/api/v1/upcoming", headers=headers).status_code == 200
        with api.client(Scope.ADMIN) as admin:
            keys = admin.get("/keys").json()["items"]
            (mine,) = [key for key in keys if key["name"] == "to be revoked"]
            assert admin.delete(f"/keys/{mine['id']}").status_code == 200
            assert admin.delete(f"/keys/{mine['id']}").status_code == 404
            (own,) = [key for key in keys if key["name"] == "the admin key"]
            assert admin.delete(f"/keys/{own['id']}").status_code == 409
            (still,) = [k for k in admin.get("/keys").json()["items"] if k["id"] == mine["id"]]
            assert still["revoked_at"] is not None
        for url in (api.url, second.url):
            assert get_without_key(f"{url}/api/v1/upcoming", headers=headers).status_code == 401


def test_keys_are_managed_over_http(api: RunningApi) -> None:
    """A key is created and listed without its secret; a name in use is refused."""
    with api.client(Scope.ADMIN) as admin:
        made = admin.post("/keys", json={"name": "made over http", "scope": "read"})
        assert made.status_code == 201
        secret = made.json()["key"]
        again = admin.post("/keys", json={"name": "made over http", "scope": "read"})
        assert again.status_code == 409
        assert secret not in admin.get("/keys").text
        assert admin.post("/keys", json={"name": "", "scope": "root"}).status_code == 400
        for name in ("two\nlines", "\x1b[31mred", "x" * 101):  # as on the command line
            refused = admin.post("/keys", json={"name": name, "scope": "read"})
            assert (refused.status_code, list(refused.json()["errors"])) == (400, ["name"])
    headers = {"Authorization": f"Bearer {secret}"}
    assert get_without_key(f"{api.url}/api/v1/upcoming", headers=headers).status_code == 200


def test_the_use_of_a_key_is_recorded_once_a_minute(api: RunningApi) -> None:
    """The first use is recorded; requests within a minute are not."""
    secret = api.create_key("used once", Scope.READ)
    assert api.database.one("SELECT last_used_at FROM api_keys WHERE name = 'used once'") is None
    headers = {"Authorization": f"Bearer {secret}"}
    statement = "SELECT last_used_at FROM api_keys WHERE name = 'used once'"
    for _ in range(3):
        get_without_key(f"{api.url}/api/v1/upcoming", headers=headers)
    first = wait_until("the recorded use", lambda: api.database.one(statement))
    with api.client(Scope.ADMIN) as admin:
        assert listed(admin, "used once")["last_used_from"] == "127.0.0.1"
    get_without_key(f"{api.url}/api/v1/upcoming", headers=headers)
    assert api.database.one(statement) == first


def is_accepted(api: RunningApi, secret: str) -> bool:
    """Return whether the API accepts the secret."""
    response = get_without_key(
        f"{api.url}/api/v1/upcoming", headers={"Authorization": f"Bearer {secret}"}
    )
    assert response.status_code in (200, 401)
    return response.status_code == 200


def listed(client: httpx.Client, name: str) -> dict[str, Any]:
    """Return the key of this name as the API lists it."""
    (found,) = [key for key in client.get("/keys").json()["items"] if key["name"] == name]
    return dict(found)


def test_an_expired_key_is_refused_like_an_unknown_one(api: RunningApi) -> None:
    with api.client(Scope.ADMIN) as admin:
        new = {
            "name": "for a month",
            "scope": "read",
            "expires_at": request_text(instant_ahead(days=30)),
        }
        made = admin.post("/keys", json=new)
        assert (made.status_code, made.json()["status"]) == (201, "in_force")
        assert made.json()["expires_at"] == new["expires_at"]
        secret = made.json()["key"]
        assert is_accepted(api, secret)
        change = "UPDATE api_keys SET expires_at = now() + %s::interval WHERE name = 'for a month'"
        api.database.rows(change, "6 days")
        assert listed(admin, "for a month")["status"] == "expiring"
        assert is_accepted(api, secret)
        api.database.rows(change, "0 days")
        assert listed(admin, "for a month")["status"] == "expired"
        headers = [{"Authorization": f"Bearer {each}"} for each in (secret, "cdk_unknown")]
        expired, unknown = (
            get_without_key(f"{api.url}/api/v1/upcoming", headers=each) for each in headers
        )
        assert (expired.status_code, expired.json()) == (401, unknown.json())
        assert admin.post(f"/keys/{made.json()['id']}/rotate", json={}).status_code == 404
        assert admin.delete(f"/keys/{made.json()['id']}").json()["status"] == "revoked"


def test_the_use_of_a_key_that_expires_soon_is_logged_once(api: RunningApi) -> None:
    ends = request_text(instant_ahead(days=3))
    with api.client(Scope.ADMIN) as admin:
        new = {"name": "nearly over", "scope": "read", "expires_at": ends}
        secret = admin.post("/keys", json=new).json()["key"]
    assert is_accepted(api, secret)
    line = api.process.wait_for("api_key_expires_soon", key="nearly over")
    assert (line["level"], line["expires_at"]) == ("warning", ends)
    assert is_accepted(api, secret)
    warned = [line["key"] for line in api.process.events_named("api_key_expires_soon")]
    assert warned.count("nearly over") == 1


def test_a_key_cannot_expire_in_the_past_or_at_an_unclear_instant(api: RunningApi) -> None:
    form = "YYYY-MM-DDTHH:MM[:SS[.fraction]] with Z, +HH:MM or +HHMM"
    unclear = ("2031-07-01", "2031-07-01T09:00:00", "9999-12-31T23:59:59-01:00", "90d", 90)
    faults = {each: f"is {each!r}, must be an instant {form}" for each in unclear}
    faults["2020-01-01T00:00:00Z"] = "is 2020-01-01T00:00:00Z, must be in the future"
    with api.client(Scope.ADMIN) as admin:
        mine = listed(admin, "the admin key")
        for at, fault in faults.items():
            for path, body in (("", {"name": "x", "scope": "read"}), (f"/{mine['id']}/rotate", {})):
                refused = admin.post(f"/keys{path}", json={**body, "expires_at": at})
                assert refused.status_code == 400
                assert refused.json()["errors"] == {"expires_at": [fault]}


def test_a_rotated_key_has_two_secrets_until_the_overlap_ends(api: RunningApi) -> None:
    """Id, name and scope stay; a second rotation ends the first secret at once."""
    with api.client(Scope.ADMIN) as admin:
        made = admin.post("/keys", json={"name": "rotated", "scope": "read"}).json()
        rotate = f"/keys/{made['id']}/rotate"
        answer = admin.post(rotate, json={"overlap_seconds": 3600})
        second = answer.json()
        assert answer.status_code == 200
        assert [second[name] for name in ("id", "name", "scope")] == [
            made[name] for name in ("id", "name", "scope")
        ]
        assert listed(admin, "rotated")["previous_until"] == second["previous_until"] is not None
        assert [is_accepted(api, key["key"]) for key in (made, second)] == [True, True]
        api.database.rows("UPDATE api_keys SET previous_until = now() WHERE name = 'rotated'")
        assert [is_accepted(api, key["key"]) for key in (made, second)] == [False, True]
        assert listed(admin, "rotated")["previous_until"] is None
        third = admin.post(rotate).json()
        fourth = admin.post(
            rotate, json={"expires_at": request_text(instant_ahead(days=90))}
        ).json()
        secrets = [key["key"] for key in (made, second, third, fourth)]
        assert [is_accepted(api, secret) for secret in secrets] == [False, False, True, True]
        last = admin.post(rotate, json={"overlap_seconds": 0}).json()
        assert (last["previous_until"], last["expires_at"]) == (None, fourth["expires_at"])
        secrets.append(last["key"])
        assert [is_accepted(api, secret) for secret in secrets] == [False] * 4 + [True]
        api.database.rows("UPDATE api_keys SET revoked_at = now() WHERE name = 'rotated'")
        assert not is_accepted(api, last["key"])
        assert admin.post(rotate, json={}).status_code == 404
        for wrong in ({"overlap_seconds": -1}, {"overlap_seconds": 31_536_001}, {"overlap": 1}):
            assert admin.post(rotate, json=wrong).status_code == 400


async def test_the_overlap_counts_when_both_secrets_are_looked_up_at_once(
    api: RunningApi,
) -> None:
    """Simultaneous requests share one lookup, which must not accept an ended secret."""
    database = Database(api.database.url, pool_size=1)
    try:
        keys = ApiKeys(database)
        key, first = await keys.create("looked up twice", Scope.READ)
        _, second = await keys.rotate(key.id, timedelta(hours=1))
        both = await asyncio.gather(keys.find(first), keys.find(second))
        assert [found and found.id for found in both] == [key.id, key.id]
        api.database.rows("UPDATE api_keys SET previous_until = now() WHERE id = %s", key.id)
        both = await asyncio.gather(keys.find(first), keys.find(second))
        assert [found and found.id for found in both] == [None, key.id]
    finally:
        await database.close()


def test_the_previous_secret_ends_with_the_key_as_it_was(api: RunningApi) -> None:
    """A rotation that extends the key does not extend the secret that was to expire."""
    with api.client(Scope.ADMIN) as admin:
        ends = request_text(instant_ahead(hours=1))
        made = admin.post("/keys", json={"name": "ends soon", "scope": "read", "expires_at": ends})
        body = {"overlap_seconds": 86_400, "expires_at": request_text(instant_ahead(days=90))}
        rotated = admin.post(f"/keys/{made.json()['id']}/rotate", json=body).json()
        assert rotated["previous_until"] == ends
        assert rotated["expires_at"] == body["expires_at"]


def test_keys_are_managed_by_commands(database_url: str, tmp_path: Any) -> None:
    """`campaignd keys create` prints the secret once, to standard output."""
    env = Daemons(tmp_path).environment(database_url)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run_campaignd(["keys", *arguments], env)

    made = run("create", "nightly", "--scope", "write")
    secret = made.stdout.strip()
    assert made.returncode == 0
    assert secret.startswith("cdk_")
    assert len(secret) == 47
    assert secret not in made.stderr
    twice = run("create", "nightly", "--scope", "read")
    assert (twice.returncode, twice.stdout) == (1, "")
    listed = run("list", "--json").stdout
    assert '"name": "nightly"' in listed
    assert secret not in listed
    assert run("revoke", "nightly").returncode == 0
    assert run("revoke", "nightly").returncode == 1
    assert '"revoked_at": null' not in run("list", "--json").stdout
    assert run("rotate", "nightly").returncode == 1
    assert run("create", "nightly", "--scope", "read").returncode == 0
    assert run("create", "x", "--scope", "root").returncode == 2
    assert run("create", "sender", "--scope", "worker").returncode == 0


def test_keys_that_end_are_managed_by_commands(database_url: str, tmp_path: Any) -> None:
    """A key ends at a date, at an instant or after a time; a rotation can move its end."""
    env = Daemons(tmp_path).environment(database_url)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run_campaignd(["keys", *arguments], env)

    for wrong in ("90", "90x", "2031-02-30", "2031-07-01T09:00:00", ""):
        assert run("create", "x", "--expires", wrong).returncode == 2
    past = run("create", "x", "--expires", "2020-01-01")
    assert (past.returncode, past.stdout) == (1, "")
    assert "expires_at is 2020-01-01T00:00:00Z, must be in the future" in past.stderr
    until_a_date = run("create", "dated", "--expires", "2031-07-01").stderr
    assert "scope read, until 2031-07-01T00:00:00Z; shown this once" in until_a_date
    until_an_instant = run("create", "timed", "--expires", "2031-07-01T09:00:00+02:00").stderr
    assert "scope read, until 2031-07-01T07:00:00Z; shown this once" in until_an_instant
    first = run("create", "brief", "--expires", "6d").stdout
    assert "expiring" in run("list").stdout
    rotated = run("rotate", "brief", "--overlap", "2h", "--expires", "52w")
    assert rotated.stdout.strip() not in ("", first.strip())
    assert "the previous secret works until " in rotated.stderr
    assert run("rotate", "brief", "--overlap", "366d").returncode == 2
    header, *rows = run("list").stdout.splitlines()
    columns = ("id", "name", "scope", "status", "last used", "from", "created", "expires")
    assert header.split() == " ".join(columns).split()
    assert len(rows) == 3
