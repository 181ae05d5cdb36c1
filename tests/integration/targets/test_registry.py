"""Every setting of a webhook in a configuration file affects its requests."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks.webhooks import Webhook

from config.load import load_settings
from daemon.domain.run.outcome import Accepted, Delivered, OutcomeUnknown, Retry
from daemon.domain.run.target import Target
from daemon.targets.registry import build_all
from tests.support.builders import new_attempt
from tests.support.servers import Server, answer_with, never_answers

GIVEN, OLD, IN_FILE = (
    "whsec_" + base64.b64encode(bytes([number]) * 24).decode() for number in (1, 2, 3)
)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
async def configured(tmp_path: Path) -> AsyncIterator[Callable[[str], Target]]:
    """Return a factory of the target crm of a configuration file; it is closed at the end."""
    made = []

    def make(toml: str) -> Target:
        path = tmp_path / "campaignd.toml"
        path.write_text(toml)
        settings = load_settings(path, environ={"HOME": "/"})
        target, _, _ = build_all(settings.targets, lambda *_args, **_fields: None)["crm"]
        made.append(target)
        return target

    yield make
    for each in made:
        await each.close()


async def test_a_webhook_as_configured(
    server: Server, configured: Callable[[str], Target], tmp_path: Path
) -> None:
    """Requests have every signature and the custom headers; responses obey the limits."""
    (tmp_path / "keys").write_text(f"{IN_FILE}\n")
    to = configured(f"""
        [targets.crm]
        type = "webhook"
        url = "{server.url}/hook?from=campaignd"
        secrets = ["{GIVEN}", "{OLD}"]
        secrets_file = "{tmp_path}/keys"
        headers = {{ Authorization = "Bearer of-good-news", X-Account = "12" }}
        retry_after_limit = 77
        lease = 44
        timeout = 60
        connect_timeout = 60
        read_timeout = 20
    """)
    assert await to.deliver(new_attempt()) == Delivered()
    (request,) = server.requests
    assert request.path == "/hook?from=campaignd"
    assert request.headers["authorization"] == "Bearer of-good-news"
    assert request.headers["x-account"] == "12"
    for key in (GIVEN, OLD, IN_FILE):
        assert Webhook(key).verify(request.body, request.headers) == request.json
    assert len(request.headers["webhook-signature"].split()) == 3

    server.default = answer_with(503, "Retry-After: 3600")
    assert await to.deliver(new_attempt()) == Retry("HTTP 503: ok", 77.0)
    server.default = answer_with(202)
    assert await to.deliver(new_attempt()) == Accepted(44.0)


async def test_a_webhook_that_posts_cloud_events(
    server: Server, configured: Callable[[str], Target]
) -> None:
    """The body is a structured CloudEvent, and its signature is valid."""
    to = configured(f"""
        [targets.crm]
        type = "webhook"
        url = "{server.url}"
        secrets = ["{GIVEN}"]
        format = "cloudevents"
    """)
    assert await to.deliver(new_attempt()) == Delivered()
    (request,) = server.requests
    event = from_http_event(HTTPMessage(dict(request.headers), request.body))
    assert event.get_id() == request.headers["webhook-id"] == str(new_attempt().run_id)
    assert Webhook(GIVEN).verify(request.body, request.headers) == request.json


@pytest.mark.parametrize(
    ("setting", "reason"),
    [("timeout", "no response within 0.3 s"), ("read_timeout", "no data for 0.3 s")],
)
async def test_the_timeouts_of_a_webhook_as_configured(
    server: Server, configured: Callable[[str], Target], setting: str, reason: str
) -> None:
    """Each one ends a long attempt."""
    server.default = never_answers
    to = configured(f"""
        [targets.crm]
        type = "webhook"
        url = "{server.url}"
        {setting} = 0.3
    """)
    assert await to.deliver(new_attempt()) == OutcomeUnknown(reason)
