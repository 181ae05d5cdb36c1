"""compose.yaml, the Dockerfile and docs/operations.md fit each other and the daemon."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.load import load_settings
from config.settings import SchedulerSettings
from daemon.app import STOP_MARGIN_S
from storage.embedded.postmaster import STOP_TIMEOUT_S

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")
NODES = ("a", "b")


def test_secrets_of_read_only_services_are_files() -> None:
    """Compose copies other secrets into the container, which fails if its root is read-only."""
    for name, service in SERVICES.items():
        for secret in service.get("secrets", []):
            assert not service.get("read_only") or COMPOSE["secrets"][secret].keys() == {"file"}, (
                name,
                secret,
            )
    assert SERVICES["a"]["secrets"]


def test_the_page_creates_what_is_mounted() -> None:
    """The page creates each mounted file and directory; none is in the repository or image."""
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    for secret in COMPOSE["secrets"].values():
        assert f" > {secret['file'].removeprefix('./')}" in PAGE
    for node in NODES:
        (mount,) = SERVICES[node]["volumes"]
        assert mount["read_only"] is True
        assert mount["bind"] == {"create_host_path": False}
        assert f"install -d {mount['source'].removeprefix('./')}\n" in PAGE
    assert {"/etc/", "/secrets/"} <= set(ignored)
    only = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"]
    assert not {"!etc", "!secrets", "!.env"} & set(only)


def test_what_the_image_copies_is_not_ignored() -> None:
    """Every source of a COPY is in the build context, and so is every package of the wheel."""
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.M)
        for source in line.split()[:-1]
    ]
    assert [source for source in copied if f"!{source}" not in ignored] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    shared = {source.partition("/")[0] for source in wheel["shared-data"]}
    assert {*wheel["only-include"], *shared} <= set(copied)


def test_nodes_restart_and_have_time_to_drain() -> None:
    """Every service restarts after a reboot, except the migration."""
    for name, service in SERVICES.items():
        assert service["restart"] == ("no" if name == "migrate" else "unless-stopped"), name
    drain = SchedulerSettings().drain_timeout + STOP_MARGIN_S
    for node in NODES:
        assert SERVICES[node]["read_only"] is True
        assert SERVICES[node]["command"] == ["run"]
        assert float(SERVICES[node]["stop_grace_period"].removesuffix("s")) > drain
    for timeout in re.findall(r"--stop-timeout (\d+)", PAGE):
        assert float(timeout) > drain + STOP_TIMEOUT_S
    started = re.findall(r"^docker run -d.*?[^\\]\n", PAGE, re.M | re.S)
    assert len(started) == 2
    assert len(set(started)) == 1, "an upgrade starts what the installation started"
    assert "--restart unless-stopped" in started[0]


def test_the_broker_of_the_profile_is_a_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example settings are valid, and name the service that the profile starts."""
    monkeypatch.setenv("CAMPAIGND_DATABASE_URL", "postgresql://campaignd@postgres/campaignd")
    settings = load_settings(ROOT / "docs" / "campaignd.compose.toml")
    address = getattr(settings.targets["queue"], "broker_url", "")
    (service,) = [name for name, each in SERVICES.items() if each.get("profiles") == ["broker"]]
    assert f"@{service}:" in str(getattr(address, "get_secret_value", lambda: address)())


def test_nothing_secret_is_written_down() -> None:
    """compose.yaml has no password, and passes none in the environment, where others see it."""
    text = (
        json.dumps(COMPOSE).replace("postgres_password", "").replace("POSTGRES_PASSWORD_FILE", "")
    )
    assert "password" not in text.lower()


def test_build_arguments_are_known() -> None:
    """The Dockerfile declares each build argument that a page passes."""
    for page in ROOT.glob("docs/*.md"):
        for name in re.findall(r"--build-arg (\w+)", page.read_text("utf-8")):
            assert re.search(rf"^ARG .*\b{name}\b", DOCKERFILE, re.M), (page.name, name)
