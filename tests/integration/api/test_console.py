"""The console over HTTP: login by a key, protection against other sites, and its pages."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import httpx
import pytest

from daemon.api.console.session import COOKIE
from daemon.domain.api_keys import SESSION_LIFE, Scope, digest_of
from storage.engine import Database
from storage.page_sessions import PageSessions
from tests.support.api_server import (
    TIMEOUT_S,
    RunningApi,
    instant_ahead,
    request_text,
    running_server,
)

PAGES = (
    "/",
    "/calendar",
    "/calendar?view=agenda",
    "/campaigns",
    "/runs",
    "/explain",
    "/nodes",
    "/targets",
    "/audit",
    "/preferences",
)


@pytest.fixture
def browser(api: RunningApi) -> Iterator[httpx.Client]:
    """Yield a client with a cookie jar."""
    with httpx.Client(base_url=api.url, follow_redirects=True, timeout=TIMEOUT_S) as client:
        yield client


def log_in(browser: httpx.Client, key: str, **headers: str) -> httpx.Response:
    """Send the login form."""
    return browser.post("/login", data={"key": key}, headers=headers)


@pytest.mark.parametrize("path", ["/campaigns?status=draft", *PAGES])
def test_without_a_session_the_form_is_shown(browser: httpx.Client, path: str) -> None:
    """Without a session, only the login form is shown."""
    response = browser.get(path)
    assert response.status_code == 200
    assert response.url.path == "/login"
    assert response.url.params.get("next", "/") == path
    assert 'name="key"' in response.text
    assert "Ended last" not in response.text
    assert COOKIE not in browser.cookies


def test_login_today_and_logout(api: RunningApi, browser: httpx.Client) -> None:
    """The scope read is sufficient; the cookie does not contain the key, and names are escaped."""
    api.create_armed_campaign(name='<img src=x onerror="alert(1)">', timezone="Asia/Tokyo")
    response = log_in(browser, api.keys[Scope.READ])
    assert response.status_code == 200
    assert "Ended last" in response.text
    set_cookie = response.history[0].headers["set-cookie"]
    for attribute in ("HttpOnly", "SameSite=strict", f"Max-Age={SESSION_LIFE.seconds}"):
        assert attribute in set_cookie
    assert "Asia/Tokyo" in response.text
    assert "<img" not in response.text
    assert "&lt;img" in response.text
    assert api.keys[Scope.READ] not in browser.cookies[COOKIE]
    assert "Ended last" not in browser.post("/logout").text
    assert "Ended last" not in browser.get("/").text


@pytest.mark.parametrize(
    ("wanted", "opened"),
    [
        ("/runs?status=held", "/runs?status=held"),
        ("//evil.example/", "/"),
        ("https://evil.example/", "/"),
        ("/\\evil.example", "/"),
    ],
)
def test_login_opens_the_page_that_was_asked_for_on_this_site(
    api: RunningApi, wanted: str, opened: str
) -> None:
    form = {"key": api.keys[Scope.READ], "next": wanted}
    answer = httpx.post(f"{api.url}/login", data=form, timeout=TIMEOUT_S)
    assert answer.status_code == 303
    assert answer.headers["location"] == opened


def test_invalid_keys_are_refused(api: RunningApi, browser: httpx.Client) -> None:
    """Unknown, missing and revoked keys are refused."""
    for wrong in ("cdk_wrong", "", "x" * 5000):
        response = log_in(browser, wrong)
        assert response.status_code == 403
        assert "does not exist, is revoked or has expired" in response.text
    assert "Ended last" in log_in(browser, api.create_key("short-lived", Scope.READ)).text
    api.database.rows("UPDATE api_keys SET revoked_at = now() WHERE name = 'short-lived'")
    assert "Ended last" not in browser.get("/").text


def test_the_key_of_a_worker_cannot_log_in(api: RunningApi, browser: httpx.Client) -> None:
    response = log_in(browser, api.keys[Scope.WORKER])
    assert response.status_code == 403
    assert "The scope worker is insufficient for this page." in response.text
    assert COOKIE not in browser.cookies


def shows_page(url: str, token: str) -> bool:
    """Return whether a browser with this cookie sees the page rather than the login form."""
    response = httpx.get(url, headers={"Cookie": f"{COOKIE}={token}"}, timeout=TIMEOUT_S)
    assert response.status_code == 200 or response.headers["location"] == "/login"
    return "Ended last" in response.text


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
    assert "Ended last" in log_in(browser, key, Origin=api.url).text
    browser.post("/logout", headers={"Origin": "https://evil.example"})
    assert "Ended last" in browser.get("/").text


def test_pages_load_nothing_from_elsewhere_and_run_no_script_of_a_campaign(
    api: RunningApi, browser: httpx.Client
) -> None:
    """Pages have no URL of another host and no inline script or style, and are not cached."""
    log_in(browser, api.keys[Scope.ADMIN])
    for path in ("/login", *PAGES):
        response = browser.get(path)
        assert response.status_code == 200, path
        assert not re.search(r"https?://|javascript:|<style", response.text)
        tags = re.sub(r'"[^"]*"', '""', response.text)
        assert not re.search(r"<[^>]* (style|on[a-z]+)=", tags)
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
    log_in(browser, api.keys[Scope.READ])
    for status in ("executing", "retrying", "held", "queued"):
        text = browser.get(f"/runs?status={status}").text
        assert [name for name in rows if f"the {name} one" in text] == [status]
    assert "the held one" in browser.get("/").text


def test_the_pages_of_a_campaign_and_of_its_run_say_what_happened(
    api: RunningApi, browser: httpx.Client
) -> None:
    made = api.create_armed_campaign(name="Letter", timezone="Europe/Paris", payload={"to": "all"})
    api.http.post(f"/campaigns/{made['id']}/stop")
    api.http.post(f"/campaigns/{made['id']}/rerun", headers={"Idempotency-Key": "once"})
    run = api.database.wait_until(
        "SELECT min(id::text) FROM runs WHERE campaign_id = %s AND finished_at IS NOT NULL",
        made["id"],
    )
    log_in(browser, api.keys[Scope.READ])
    page = browser.get(f"/campaigns/{made['id']}").text
    assert "Every day at 09:00 in Paris." in page
    assert f'href="/runs/{run}"' in page
    for tab, shown in {
        "runs": "completed",
        "history": "api:the write key",
        "payload": "all",
    }.items():
        assert shown in browser.get(f"/campaigns/{made['id']}/{tab}").text, tab
    assert (
        "&#34;frequency&#34;: &#34;daily&#34;"
        in browser.get(f"/campaigns/{made['id']}/schedule").text
    )
    assert "It ran: started at" in browser.get(f"/runs/{run}").text
    answer = browser.get("/explain", params={"campaign": made["id"], "at": "2020-01-01T09:00"})
    assert "The campaign was only created at" in answer.text


def test_the_calendar_shows_past_runs_and_coming_ones_of_one_zone(
    api: RunningApi, browser: httpx.Client
) -> None:
    """A schedule of 09:00 in Tokyo is on the day before in Honolulu, also after clocks change."""
    made = api.create_armed_campaign(name="Calendar letter", timezone="Asia/Tokyo")
    api.database.rows(
        "INSERT INTO runs (campaign_id, scheduled_for, id, status, cause, claimed_at, start_before,"
        " attempt, finished_at, error) VALUES (%s, '2025-03-04T00:00Z', gen_random_uuid(),"
        " 'failed', 'schedule', '2025-03-04T00:00Z', '2025-03-04T01:00Z', 1, '2025-03-04T00:01Z',"
        " 'no answer')",
        made["id"],
    )
    log_in(browser, api.keys[Scope.READ])
    asked = {"q": "Calendar letter", "zone": "Pacific/Honolulu"}

    def day_of(day: str, **more: str) -> str:
        found = browser.get("/calendar", params={"view": "month", "day": day, **asked, **more}).text
        return found.split(f'data-day="{day}"')[1].split("</td>")[0]

    assert 'class="entry s-failed' in day_of("2025-03-03")
    assert "14:00" in day_of("2025-03-03")
    assert 'class="entry' not in day_of("2025-03-04")
    coming = day_of("2031-05-06")
    assert f'href="/campaigns/{made["id"]}"' in coming
    assert "Wed 7 May 2031, 09:00 Asia/Tokyo" in coming
    assert "Clocks go forward" in day_of("2031-03-30", zone="Europe/Paris")
    assert 'class="entry' not in day_of("2031-05-06", q="another letter")
    api.http.post(f"/campaigns/{made['id']}/pause")
    assert 'class="entry s-paused' in day_of("2031-05-06")
    for view in ("week", "day", "agenda"):
        page = browser.get("/calendar", params={"view": view, "day": "2031-05-06", **asked}).text
        assert "Calendar letter" in page, view


def test_the_page_of_a_paused_campaign_strikes_what_will_be_missed(
    api: RunningApi, browser: httpx.Client
) -> None:
    made = api.create_armed_campaign(name="A letter on holiday")
    until = instant_ahead(days=2)
    body = {"until": request_text(until), "note": "summer <holidays>"}
    assert api.http.post(f"/campaigns/{made['id']}/pause", json=body).status_code == 200
    log_in(browser, api.keys[Scope.READ])
    page = browser.get(f"/campaigns/{made['id']}").text
    assert "by api:the write key" in page
    assert f'datetime="{request_text(until)}"' in page
    assert "summer &lt;holidays&gt;" in page
    assert "those before the end of the pause will be missed" in page
    assert 0 < page.count('class="struck"') <= 3


def test_a_search_counts_what_it_finds(api: RunningApi, browser: httpx.Client) -> None:
    for number in range(3):
        api.create_campaign(name=f"Counted {number}", timezone=("UTC", "Asia/Tokyo")[number % 2])
    log_in(browser, api.keys[Scope.READ])
    page = browser.get("/campaigns?q=counted").text
    assert re.search(r'id="count">3 of \d+<', page)
    assert re.search(r'href="\?q=counted&amp;status=draft" >draft <span class="n">3</span>', page)
    assert "Asia/Tokyo (1)" in page
    assert re.search(
        r'id="count">1 of ', browser.get("/campaigns?q=counted&timezone=Asia/Tokyo").text
    )
    assert "No run matches" in browser.get("/runs?q=counted").text


@pytest.mark.parametrize(
    ("path", "status", "shown"),
    [
        ("/campaigns/999999999", 404, "Campaign not found"),
        ("/campaigns/x", 404, "Campaign not found"),
        ("/campaigns/1/nothing", 404, "Page not found"),
        ("/runs/x", 404, "Run not found"),
        ("/nothing", 404, "Not found"),
        ("/static/nothing.js", 404, "Not found"),
        ("/runs?cursor=x", 400, "Invalid parameters"),
    ],
)
def test_errors_are_pages(
    api: RunningApi, browser: httpx.Client, path: str, status: int, shown: str
) -> None:
    """An error has the bar with the links to the other pages, and is not JSON."""
    log_in(browser, api.keys[Scope.READ])
    response = browser.get(path)
    assert response.status_code == status
    assert f"<h1>{shown}</h1>" in response.text
    assert 'href="/campaigns"' in response.text


def test_the_audit_log_is_for_administrators(api: RunningApi, browser: httpx.Client) -> None:
    log_in(browser, api.keys[Scope.WRITE])
    assert 'href="/audit"' not in browser.get("/").text
    refused = browser.get("/audit")
    assert refused.status_code == 403
    assert "needs the scope admin" in refused.text
    log_in(browser, api.keys[Scope.ADMIN])
    assert "web:the admin key" in browser.get("/audit").text


def test_times_are_shown_in_the_zone_of_the_preferences(
    api: RunningApi, browser: httpx.Client
) -> None:
    made = api.create_armed_campaign(timezone="UTC")
    log_in(browser, api.keys[Scope.READ])
    assert ", 14:30</dd>" not in browser.get(f"/campaigns/{made['id']}").text
    saved = browser.post("/preferences", data={"zone": "Asia/Kolkata", "next": "/"})
    assert "Asia/Kolkata" in saved.text
    assert ", 14:30</dd>" in browser.get(f"/campaigns/{made['id']}").text
    wrong = browser.post("/preferences", data={"zone": "Paris"})
    assert wrong.status_code == 400
    assert "There is no time zone Paris." in wrong.text


def create_link(api: RunningApi, name: str) -> str:
    """Make a login link of a key and return its token."""

    async def create() -> str | None:
        database = Database(api.database.url, pool_size=1)
        try:
            return await PageSessions(database).create_link(name)
        finally:
            await database.close()

    token = asyncio.run(create())
    assert token is not None
    return token


def test_a_login_link_opens_the_console_once(api: RunningApi, browser: httpx.Client) -> None:
    """Looking at the link does not use it up, so that a program that looks ahead spoils nothing."""
    token = create_link(api, "the write key")
    for _ in range(2):
        assert "Open the console" in browser.get("/login", params={"link": token}).text
    other_site = browser.post(
        "/login/link", data={"link": token}, headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert other_site.status_code == 403
    opened = browser.post("/login/link", data={"link": token})
    assert "the write key, write" in opened.text
    again = httpx.post(f"{api.url}/login/link", data={"link": token}, timeout=TIMEOUT_S)
    assert again.status_code == 403
    assert "was opened before, or has expired" in again.text


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE login_links SET expires_at = now()",
        "UPDATE api_keys SET revoked_at = now() WHERE name = '{name}'",
        "UPDATE api_keys SET digest = sha256('{name}') WHERE name = '{name}'",
        "SELECT",
    ],
)
def test_a_login_link_ends_by_its_age_and_with_its_key(api: RunningApi, change: str) -> None:
    name = f"of a link {len(change)}"
    api.create_key(name, Scope.READ)
    token = create_link(api, name)
    api.database.rows(change.format(name=name))
    answer = httpx.post(f"{api.url}/login/link", data={"link": token}, timeout=TIMEOUT_S)
    assert answer.status_code == (303 if change == "SELECT" else 403)
    assert token not in str(api.database.rows("SELECT * FROM login_links"))


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
