"""Files with secrets that every user may read are found; other files are no reason to warn."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import exposure
from config.exposure import exposed_files

HOOK = '[targets.crm]\ntype = "webhook"\n'
PLAIN_HOOK = HOOK + 'url = "https://crm.example/hooks/campaigns"\n'
QUEUE = '[targets.q]\ntype = "broker"\n'


@pytest.fixture(autouse=True)
def outside_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposure, "_CONTAINER_SIGNS", ())


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


def write(path: Path, text: str, mode: int = 0o644) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('database_url = "postgresql://me:pw@host/db"', "database_url"),
        ('database_url = "postgresql://host/db?password=pw"', "database_url"),
        (QUEUE + 'broker_url = "amqps://user:secretpw@host//"', "targets.q.broker_url"),
        (QUEUE + 'broker_url = "rediss://:secretpw@host/0"', "targets.q.broker_url"),
        (HOOK + 'url = "https://crm.example/hook?token=abc"', "targets.crm.url"),
        (HOOK + 'url = "https://hooks.example/T0/B0/a1b2c3d4e5f6a7b8c9d0"', "targets.crm.url"),
        (
            HOOK + 'url = "https://x"\nsecrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZI"]',
            "targets.crm.secrets",
        ),
        (
            HOOK + 'url = "https://x"\nheaders = { Authorization = "Bearer x" }',
            "targets.crm.headers",
        ),
        (HOOK + 'url = "https://x"\nproxy = "http://me:pw@proxy:3128"', "targets.crm.proxy"),
        (
            '[targets.c]\ntype = "command"\nargv = ["x"]\nenvironment = { API_KEY = "x" }',
            "targets.c.environment",
        ),
        (
            '[targets.p]\ntype = "plugin"\nplugin = "x"\noptions = { login = { password = "x" } }',
            "targets.p.options",
        ),
    ],
)
def test_a_readable_configuration_with_a_secret(place: Path, text: str, names: str) -> None:
    file = write(place / "campaignd.toml", text)
    (found,) = exposed_files(file, {})
    assert str(found) == (f"every user can read {file} (mode 0644), which holds {names}: chmod o-r")
    for mode in (0o640, 0o600, 0o400):
        file.chmod(mode)
        assert exposed_files(file, {}) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        'database_url = "postgresql:///campaignd"',
        'database_url = "postgresql://me@host/db?sslmode=verify-full"',
        QUEUE + 'broker_url = "redis://host/0"',
        PLAIN_HOOK + 'headers = { x-source = "campaignd" }',
        '[targets.c]\ntype = "command"\nargv = ["x"]\nenvironment = { LANG = "C" }',
    ],
)
def test_a_readable_configuration_without_a_secret(place: Path, text: str) -> None:
    assert exposed_files(write(place / "campaignd.toml", text), {}) == []


def test_every_file_of_secrets(place: Path) -> None:
    """Of a variable, of a credential, of a setting, and in a broker's URL."""
    url = write(place / "database_url", "postgresql://me:pw@host/db\n")
    credential = write(place / "targets_crm_secrets", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZI\n")
    key, secrets, broker_key = (write(place / name, "x") for name in ("key", "secrets", "bk"))
    file = write(
        place / "campaignd.toml",
        f'{HOOK}url = "https://x"\nsecrets_file = "{secrets}"\nclient_key = "{key}"\n'
        f'{QUEUE}broker_url = "amqps://host//?ssl_keyfile={broker_key}"\n',
    )
    given = {"CAMPAIGND_DATABASE_URL_FILE": str(url), "CREDENTIALS_DIRECTORY": str(place)}
    assert {found.path: found.settings for found in exposed_files(file, given)} == {
        url: ("database_url",),
        credential: ("targets.crm.secrets",),
        secrets: ("targets.crm.secrets_file",),
        key: ("targets.crm.client_key",),
        broker_key: ("targets.q.broker_url",),
    }


def test_a_closed_directory_protects_its_files(place: Path) -> None:
    file = write(place / "campaignd.toml", 'database_url = "postgresql://me:pw@host/db"')
    place.chmod(0o700)
    assert exposed_files(file, {}) == []


def test_a_value_that_is_replaced_is_still_in_the_file(place: Path) -> None:
    file = write(place / "campaignd.toml", 'database_url = "postgresql://me:pw@host/db"')
    assert exposed_files(file, {"CAMPAIGND_DATABASE_URL": "postgresql:///other"})


def test_a_container_has_no_other_users(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(place / "campaignd.toml", 'database_url = "postgresql://me:pw@host/db"')
    assert exposed_files(file, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}) == []
    monkeypatch.setattr(exposure, "_CONTAINER_SIGNS", (str(file),))
    assert exposed_files(file, {}) == []


@pytest.mark.parametrize("text", ["database_url = 7", "[targets", "[targets.q]\nbroker_url = []"])
def test_an_invalid_configuration_is_reported_elsewhere(place: Path, text: str) -> None:
    assert exposed_files(write(place / "campaignd.toml", text), {}) == []
