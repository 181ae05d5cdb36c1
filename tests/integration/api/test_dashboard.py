"""The dashboard over HTTP: login by a key, protection against other sites, and its content."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest

from daemon.api.dashboard import html
from daemon.api.dashboard.session import COOKIE
from daemon.domain.api_keys import SESSION_LIFE, Scope, digest_of
from daemon.domain.campaign.state_machine import Status
from daemon.domain.read_models import NodeState, Overview, SchemaInfo, UpcomingEvent
from daemon.domain.schedule.schedule import CampaignType, EventKind
from tests.support.api_server import TIMEOUT_S, RunningApi, running_server


@pytest.fixture
def browser(api: RunningApi) -> Iterator[httpx.Client]:
    """Yield a client with a cookie jar."""
    with httpx.Client(base_url=api.url, follow_redirects=True, timeout=TIMEOUT_S) as client:
        yield client


def log_in(browser: httpx.Client, key: str, **headers: str) -> httpx.Response:
    """Send the login form."""
    return browser.post("/login", data={"key": key}, headers=headers)


def test_without_a_session_the_form_is_shown(browser: httpx.Client) -> None:
    """Without a session, only the login form is shown."""
    response = browser.get("/")
    assert response.status_code == 200
    assert 'name="key"' in response.text
    assert "Upcoming" not in response.text
    assert COOKIE not in browser.cookies


def test_login_dashboard_and_logout(api: RunningApi, browser: httpx.Client) -> None:
    """The scope read is sufficient; the cookie does not contain the key, and names are escaped."""
    api.create_armed_campaign(name='<img src=x onerror="alert(1)">', timezone="Asia/Tokyo")
    response = log_in(browser, api.keys[Scope.READ])
    assert response.status_code == 200
    assert "Upcoming" in response.text
    set_cookie = response.history[0].headers["set-cookie"]
    for attribute in ("HttpOnly", "SameSite=strict", f"Max-Age={SESSION_LIFE.seconds}"):
        assert attribute in set_cookie
    assert "Asia/Tokyo" in response.text
    assert "<img" not in response.text
    assert "&lt;img" in response.text
    assert api.keys[Scope.READ] not in browser.cookies[COOKIE]
    assert "Upcoming" not in browser.post("/logout").text
    assert "Upcoming" not in browser.get("/").text


def test_invalid_keys_are_refused(api: RunningApi, browser: httpx.Client) -> None:
    """Unknown, missing and revoked keys are refused."""
    for wrong in ("cdk_wrong", "", "x" * 5000):
        response = log_in(browser, wrong)
        assert response.status_code == 403
        assert "does not exist, is revoked or has expired" in response.text
    assert "Upcoming" in log_in(browser, api.create_key("short-lived", Scope.READ)).text
    api.database.rows("UPDATE api_keys SET revoked_at = now() WHERE name = 'short-lived'")
    assert "Upcoming" not in browser.get("/").text


def test_the_key_of_a_worker_cannot_log_in(api: RunningApi, browser: httpx.Client) -> None:
    response = log_in(browser, api.keys[Scope.WORKER])
    assert response.status_code == 403
    assert "The scope worker is insufficient for this page." in response.text
    assert COOKIE not in browser.cookies


def shows_page(url: str, token: str) -> bool:
    """Return whether a browser with this cookie sees the page rather than the login form."""
    response = httpx.get(url, headers={"Cookie": f"{COOKIE}={token}"}, timeout=TIMEOUT_S)
    assert response.status_code == 200
    return "Upcoming" in response.text


def new_session(api: RunningApi, key: str) -> str:
    """Log in and return the cookie's token."""
    response = httpx.post(f"{api.url}/login", data={"key": key}, timeout=TIMEOUT_S)
    assert response.status_code == 303
    return response.cookies[COOKIE]


def test_log_out_ends_the_session_also_for_copies_of_the_cookie(api: RunningApi) -> None:
    token, other = (new_session(api, api.keys[Scope.READ]) for _ in range(2))
    assert shows_page(api.url, token)
    headers = {"Cookie": f"{COOKIE}={token}"}
    left = httpx.post(f"{api.url}/logout", headers=headers, timeout=TIMEOUT_S)
    assert left.status_code == 303
    assert not shows_page(api.url, token)
    assert shows_page(api.url, other)


def test_a_log_in_ends_the_session_that_the_browser_had(
    api: RunningApi, browser: httpx.Client
) -> None:
    log_in(browser, api.keys[Scope.READ])
    first = browser.cookies[COOKIE]
    log_in(browser, api.keys[Scope.ADMIN])
    assert "the admin key" in browser.get("/").text
    assert not shows_page(api.url, first)


def test_every_node_knows_the_session(
    api: RunningApi, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A session that one node started is valid on another node, and ended there it ends on both."""
    token = new_session(api, api.keys[Scope.READ])
    directory = tmp_path_factory.mktemp("second")
    with running_server(directory, api.database.url, "api", api.keys) as second:
        assert shows_page(second.url, token)
        headers = {"Cookie": f"{COOKIE}={token}"}
        httpx.post(f"{second.url}/logout", headers=headers, timeout=TIMEOUT_S)
        assert not shows_page(api.url, token)


def test_only_the_hash_of_the_token_is_stored(api: RunningApi) -> None:
    token = new_session(api, api.keys[Scope.READ])
    assert api.database.one(
        "SELECT count(*) FROM sessions WHERE digest = %s AND address = '127.0.0.1'",
        digest_of(token),
    )
    assert token not in str(api.database.rows("SELECT * FROM sessions"))
    for wrong in (token[:-1], token + "x", "x" * 5000, "%00", digest_of(token).hex()):
        assert not shows_page(api.url, wrong)


@pytest.mark.parametrize(
    ("change", "is_valid"),
    [
        ("used_at = now() - interval '29 minutes'", True),
        ("used_at = now() - interval '30 minutes'", False),
        ("created_at = now() - interval '11 hours 59 minutes'", True),
        ("created_at = now() - interval '12 hours'", False),
    ],
)
def test_a_session_ends_by_disuse_and_by_age(api: RunningApi, change: str, is_valid: bool) -> None:
    token = new_session(api, api.keys[Scope.READ])
    api.database.rows(f"UPDATE sessions SET {change} WHERE digest = %s", digest_of(token))
    assert shows_page(api.url, token) is is_valid


@pytest.mark.parametrize(
    ("change", "is_valid"),
    [
        ("revoked_at = now()", False),
        ("expires_at = now()", False),
        ("expires_at = now() + interval '1 minute'", True),
        ("previous_digest = digest, previous_until = now(), digest = sha256('2')", False),
        ("previous_digest = digest, previous_until = 'tomorrow', digest = sha256('3')", True),
        ("digest = sha256('4')", False),
    ],
)
def test_a_session_ends_with_the_secret_that_started_it(
    api: RunningApi, change: str, is_valid: bool
) -> None:
    """The key is revoked, expires or is rotated; after a rotation the overlap counts."""
    name = f"of a browser: {change}"
    token = new_session(api, api.create_key(name, Scope.READ))
    api.database.rows(f"UPDATE api_keys SET {change} WHERE name = %s", name)
    assert shows_page(api.url, token) is is_valid


def test_the_use_of_a_session_and_its_key_is_recorded_once_a_minute(api: RunningApi) -> None:
    token = new_session(api, api.create_key("of the page", Scope.READ))
    used = "SELECT used_at > now() - interval '10 seconds' FROM sessions WHERE digest = %s"
    for age, is_recorded in (("50 seconds", False), ("61 seconds", True)):
        api.database.rows(
            "UPDATE sessions SET used_at = now() - %s::interval WHERE digest = %s",
            age,
            digest_of(token),
        )
        assert shows_page(api.url, token)
        assert api.database.one(used, digest_of(token)) is is_recorded
    api.database.wait_until(
        "SELECT last_used_from = '127.0.0.1' FROM api_keys WHERE name = 'of the page'"
    )


def test_a_log_in_deletes_ended_sessions(api: RunningApi) -> None:
    ended, unused = (new_session(api, api.keys[Scope.READ]) for _ in range(2))
    api.database.rows(
        "UPDATE sessions SET used_at = now() - interval '30 minutes' WHERE digest = %s",
        digest_of(ended),
    )
    new_session(api, api.keys[Scope.READ])
    kept = {row["digest"] for row in api.database.rows("SELECT digest FROM sessions")}
    assert digest_of(ended) not in kept
    assert digest_of(unused) in kept


def test_forms_of_other_sites_are_refused(api: RunningApi, browser: httpx.Client) -> None:
    """A form on another site can neither log in nor log out."""
    key = api.keys[Scope.READ]
    assert log_in(browser, key, Origin="https://evil.example").status_code == 403
    assert log_in(browser, key, **{"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert "Upcoming" in log_in(browser, key, Origin=api.url).text
    browser.post("/logout", headers={"Origin": "https://evil.example"})
    assert "Upcoming" in browser.get("/").text


def test_the_page_loads_nothing(api: RunningApi, browser: httpx.Client) -> None:
    """The page has no script and no URL of another host, forbids both, and is not cached."""
    for response in (browser.get("/"), log_in(browser, api.keys[Scope.READ])):
        assert not re.search(r"<script|https?://|javascript:", response.text)
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert response.headers["cache-control"] == "no-store"


def test_the_api_does_not_accept_the_cookie(api: RunningApi) -> None:
    """The API accepts keys only."""
    with httpx.Client(base_url=api.url, follow_redirects=True, timeout=TIMEOUT_S) as browser:
        log_in(browser, api.keys[Scope.ADMIN])
        assert browser.get("/api/v1/campaigns").status_code == 401


def test_open_runs_are_shown_however_many_runs_are_newer(
    api: RunningApi, browser: httpx.Client
) -> None:
    """All open runs are shown, not only the newest runs."""
    rows = {
        "executing": "1, 'elsewhere', now(), NULL, now() + interval '1 hour', NULL",
        "retrying": "1, NULL, now(), now() + interval '1 hour', NULL, NULL",
        "held": "1, NULL, now(), NULL, NULL, NULL",
        "queued": "0, NULL, NULL, now() + interval '1 hour', NULL, NULL",
        "completed": "1, 'elsewhere', now(), NULL, NULL, now()",
    }
    for status, columns in rows.items():
        created = api.create_campaign(name=f"the {status} one")
        count, age = (150, 0) if status == "completed" else (1, 1)
        if count == 1:
            api.database.rows(
                "UPDATE campaigns SET status = 'executing', open_runs = 1, has_due = true"
                " WHERE id = %s",
                created["id"],
            )
        api.database.rows(
            "INSERT INTO runs (campaign_id, scheduled_for, id, status, cause, claimed_at,"
            " start_before, attempt, node, started_at, next_attempt_at, lease_until, finished_at)"
            " SELECT %s, now() - make_interval(days => %s, secs => n), gen_random_uuid(), %s,"
            " 'start', now() - make_interval(days => %s), now() + interval '1 hour',"
            f" {columns} FROM generate_series(1, %s) AS n",
            created["id"],
            age,
            status,
            age,
            count,
        )
    text = log_in(browser, api.keys[Scope.READ]).text
    executing, waiting = (
        text.split(f'<h2 id="{name}">')[1].split("</section>")[0]
        for name in ("executing", "waiting")
    )
    assert "the executing one" in executing
    assert [executing.count(f"the {status} one") for status in rows] == [1, 0, 0, 0, 0]
    assert [waiting.count(f"the {status} one") for status in rows] == [0, 1, 1, 1, 0]


def test_logins_of_one_key_are_limited(api: RunningApi) -> None:
    """Each is a row in the database; other keys are not affected."""
    many, other = (api.create_key(name, Scope.READ) for name in ("of many", "of one"))
    with httpx.Client(base_url=api.url, timeout=TIMEOUT_S) as client:
        # The limit is that of a sliding window, which may move on between the first and the last.
        answers = [log_in(client, many) for _ in range(130)]
        statuses = [answer.status_code for answer in answers]
        assert set(statuses[:100]) == {303}
        assert set(statuses[100:]) <= {303, 429}
        refused = answers[statuses.index(429)]
        assert refused.headers["retry-after"] == "60"
        assert log_in(client, other).status_code == 303


def test_login_attempts_are_limited(api: RunningApi, browser: httpx.Client) -> None:
    """Login attempts of one address are limited. The last HTTP test, as it uses the limit up."""
    statuses = [log_in(browser, f"cdk_{number}").status_code for number in range(25)]
    assert statuses[-1] == 429
    assert set(statuses) == {403, 429}


def test_problems_are_marked() -> None:
    """Overdue events, lost nodes and the totals of both are marked."""
    now = datetime(2026, 6, 1, 12, tzinfo=UTC)
    lost = NodeState("n-1", "n", "h", 1, "1", "2026a", False, False, now, 90.0, -85.0, 0, 0, "3")
    found = Overview(
        now,
        [lost],
        3,
        0,
        now - timedelta(seconds=75),
        None,
        1,
        0,
        0,
        "17",
        SchemaInfo("0002", None, False),
    )
    late = UpcomingEvent(
        7,
        UUID(int=7),
        "Late",
        CampaignType.ONE_TIME,
        Status.SCHEDULED,
        EventKind.FIRE,
        now - timedelta(seconds=75),
        datetime(2026, 6, 1, 20, 58, 45, tzinfo=UTC).replace(tzinfo=None),
        "Asia/Tokyo",
    )
    text = html.overview_page(found, {}, [], [late], "ann")
    for bad in ("3", "75.0 s", "0"):  # overdue, behind by, nodes
        assert f'<dd><span class="bad">{bad}</span></dd>' in text
    assert '<td class="bad">lost</td>' in text
    assert '<td class="bad">overdue by 75.0 s</td>' in text
    assert "2026-06-01 20:58:45" in text
