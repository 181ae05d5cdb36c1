"""The registry takes a target's options from the settings of the same name."""

from __future__ import annotations

import sys
from dataclasses import fields
from typing import Any

import pytest

from config.target_settings import (
    BrokerTargetSettings,
    CommandTargetSettings,
    WebhookTargetSettings,
)
from daemon.targets import UnusableTarget
from daemon.targets.broker import BrokerOptions, BrokerTarget
from daemon.targets.broker_nats import NatsTarget
from daemon.targets.command import CommandOptions
from daemon.targets.registry import build_all
from daemon.targets.webhook import WebhookOptions
from tests.support.capture import CapturedEvents

DERIVED = {WebhookOptions: {"keys", "reuse"}}
NOT_OF_THE_TARGET = {
    # The registry, the retry policy and `read_keys` use these.
    *("type", "concurrency", "max_attempts", "backoff_first", "backoff_longest", "on_lost"),
    *("pause_after", "pause_longest", "lease", "secrets", "secrets_file"),
}


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (WebhookOptions, WebhookTargetSettings),
        (CommandOptions, CommandTargetSettings),
        (BrokerOptions, BrokerTargetSettings),
    ],
)
def test_options_and_settings_have_the_same_names(options: Any, settings: Any) -> None:
    """A renamed setting would otherwise fail only when a target is built."""
    names = {field.name for field in fields(options)} - DERIVED.get(options, set())
    assert names <= settings.model_fields.keys()
    assert settings.model_fields.keys() - NOT_OF_THE_TARGET <= names


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("amqp://localhost//", BrokerTarget),
        ("redis://localhost/0", BrokerTarget),
        ("nats://localhost", NatsTarget),
        ("tls://localhost:4222", NatsTarget),
    ],
)
async def test_the_url_of_a_broker_chooses_the_client(url: str, kind: type) -> None:
    settings = BrokerTargetSettings(type="broker", broker_url=url)
    target, _, _ = build_all({"bus": settings}, CapturedEvents())["bus"]
    assert type(target) is kind
    await target.close()


@pytest.mark.parametrize(
    ("library", "module", "url"),
    [
        ("kombu", "daemon.targets.broker_tls", "amqp://localhost//"),
        ("nats", "daemon.targets.broker_nats", "nats://localhost"),
    ],
)
def test_a_broker_without_its_library_names_the_extra(
    library: str, module: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [each for each in sys.modules if each.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, module, raising=False)
    settings = BrokerTargetSettings(type="broker", broker_url=url)
    with pytest.raises(UnusableTarget, match=r"targets\.bus: .*install campaignd\[broker\]"):
        build_all({"bus": settings}, CapturedEvents())
