"""Sources of settings, their precedence, and the error messages."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from config.dsn import checked_dsn, redacted_dsn
from config.errors import ConfigurationError
from config.load import load_settings
from config.settings import Settings, needs_restart
from config.timezone_data import read_timezone_data


def load(
    tmp_path: Path,
    toml: str = "",
    flags: dict[str, Any] | None = None,
    **environ: str,
) -> Settings:
    """Load settings from a file with this text, and from no other variables than these."""
    path = tmp_path / "c.toml"
    path.write_text(toml)
    return load_settings(path, flags, {"HOME": "/home/u", **environ})


def problems(tmp_path: Path, toml: str = "", **environ: str) -> list[str]:
    """Return the problems, with only the name of the file."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, toml, **environ)
    assert all("\n" not in problem for problem in caught.value.problems)
    return [problem.replace(f"{tmp_path}/", "") for problem in caught.value.problems]


def test_defaults(tmp_path: Path) -> None:
    """No setting is required."""
    settings = load(tmp_path)
    assert settings.database_url is None
    assert settings.listen_database_url is None
    assert settings.state_dir == Path("/home/u/.local/share/campaignd")
    assert settings.node_name
    assert (settings.api.enabled, settings.api.host, settings.api.port) == (True, "127.0.0.1", 8080)
    assert (settings.log.level, settings.log.format) == ("info", "auto")
    assert (settings.scheduler.horizon, settings.scheduler.lease) == (60, 5)
    assert settings.scheduler.continuous_interval == 300
    assert settings.scheduler.misfire_grace_time == 3600
    assert settings.targets["log"].type == "log"


def test_precedence(tmp_path: Path) -> None:
    """Flags over environment over file over defaults."""
    toml = "[api]\nport = 1\n"
    assert load(tmp_path, toml).api.port == 1
    assert load(tmp_path, toml, CAMPAIGND_API__PORT="2").api.port == 2
    assert load(tmp_path, toml, {"api.port": 3}, CAMPAIGND_API__PORT="2").api.port == 3
    assert load(tmp_path, toml, {"api.port": None}, CAMPAIGND_API__PORT="2").api.port == 2


def test_a_section_is_merged_key_by_key(tmp_path: Path) -> None:
    """A variable does not hide the rest of its section in the file."""
    settings = load(tmp_path, '[api]\nport = 1\nhost = "::1"\n', CAMPAIGND_API__PORT="2")
    assert (settings.api.host, settings.api.port) == ("::1", 2)


@pytest.mark.parametrize(
    ("toml", "environ", "expected"),
    [
        ("", {}, "newest"),
        ('timezone_data = "package"\n', {}, "package"),
        ('timezone_data = "package"\n', {"CAMPAIGND_TIMEZONE_DATA": "system"}, "system"),
        ('timezone_data = "package"\n', {"CAMPAIGND_TIMEZONE_DATA": ""}, "package"),
    ],
)
def test_one_setting_is_also_read_by_itself(
    tmp_path: Path, toml: str, environ: dict[str, str], expected: str
) -> None:
    """By commands that read no others; the result is the same."""
    path = tmp_path / "campaignd.toml"
    path.write_text(toml)
    assert load(tmp_path, toml, **environ).timezone_data == expected
    assert read_timezone_data(path, environ) == expected
    assert read_timezone_data(None, {**environ, "CAMPAIGND_CONFIG": str(path)}) == expected


@pytest.mark.parametrize("toml", ['timezone_data = "x"\n', "timezone_data = 5\n", "not TOML"])
def test_one_setting_read_by_itself_has_its_default_where_it_is_invalid(
    tmp_path: Path, toml: str
) -> None:
    path = tmp_path / "campaignd.toml"
    path.write_text(toml)
    assert read_timezone_data(path, {}) == "newest"
    assert read_timezone_data(tmp_path / "missing", {}) == "newest"


def test_frozen(tmp_path: Path) -> None:
    """Settings cannot be changed."""
    with pytest.raises(Exception, match="frozen"):
        load(tmp_path).api.port = 1  # type: ignore[misc]


def test_config_variable_names_the_file(tmp_path: Path) -> None:
    """CAMPAIGND_CONFIG is used when there is no --config; a missing file is an error."""
    path = tmp_path / "x.toml"
    path.write_text('node_name = "n"\n')
    assert load_settings(environ={"CAMPAIGND_CONFIG": str(path), "HOME": "/"}).node_name == "n"
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ={"CAMPAIGND_CONFIG": "/not/there", "HOME": "/"})
    assert caught.value.problems == ("CAMPAIGND_CONFIG: /not/there: No such file or directory",)


def test_default_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default file is optional."""
    path = tmp_path / "campaignd.toml"
    monkeypatch.setattr("config.load.DEFAULT_FILE", path)
    assert load_settings(environ={"HOME": "/"}).api.port == 8080
    path.write_text("[api]\nport = 7\n")
    assert load_settings(environ={"HOME": "/"}).api.port == 7


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"CAMPAIGND_STATE_DIR": "/a", "STATE_DIRECTORY": "/b"}, "/a"),
        ({"STATE_DIRECTORY": "/b:/c", "XDG_DATA_HOME": "/d"}, "/b"),
        ({"XDG_DATA_HOME": "/d"}, "/d/campaignd"),
        ({"XDG_DATA_HOME": "relative"}, "/home/u/.local/share/campaignd"),
        ({"CAMPAIGND_STATE_DIR": ""}, "/home/u/.local/share/campaignd"),
    ],
)
def test_state_dir(tmp_path: Path, environ: dict[str, str], expected: str) -> None:
    """The setting, else systemd's directory, else the user's; an empty variable is unset."""
    assert load(tmp_path, **environ).state_dir == Path(expected)


def test_secret_from_a_file(tmp_path: Path) -> None:
    """The end of the line is not part of the secret."""
    secret = tmp_path / "secret"
    secret.write_text("postgres://u:p@h/d\n")
    settings = load(tmp_path, CAMPAIGND_DATABASE_URL_FILE=str(secret))
    assert settings.database_url == "postgresql://u:p@h/d"
    assert "u:p" not in repr(settings)


def test_a_byte_order_mark_is_not_read(tmp_path: Path) -> None:
    """Some editors put one at the start of a file."""
    secret = tmp_path / "secret"
    secret.write_text("\ufeffpostgresql://h/d\r\n", encoding="utf-8")
    toml = "\ufeffnode_name = 'n'\r\n[api]\r\nport = 8081\r\n"
    settings = load(tmp_path, toml, CAMPAIGND_DATABASE_URL_FILE=str(secret))
    assert (settings.node_name, settings.api.port) == ("n", 8081)
    assert settings.database_url == "postgresql://h/d"


def test_secret_from_systemd(tmp_path: Path) -> None:
    """A credential takes precedence over the file, and the environment over both."""
    (tmp_path / "database_url").write_text("postgresql://credential/d")
    toml = 'database_url = "postgresql://toml/d"'
    directory = str(tmp_path)
    settings = load(tmp_path, toml, CREDENTIALS_DIRECTORY=directory)
    assert settings.database_url == "postgresql://credential/d"
    settings = load(
        tmp_path,
        toml,
        CREDENTIALS_DIRECTORY=directory,
        CAMPAIGND_DATABASE_URL="postgresql://environment/d",
    )
    assert settings.database_url == "postgresql://environment/d"


def test_secret_given_twice_or_not_readable(tmp_path: Path) -> None:
    """Two values for one secret are an error."""
    assert problems(
        tmp_path, CAMPAIGND_DATABASE_URL="postgresql://h/d", CAMPAIGND_DATABASE_URL_FILE="/x"
    ) == [
        "CAMPAIGND_DATABASE_URL_FILE: CAMPAIGND_DATABASE_URL is set as well;"
        " allowed is one of the two"
    ]
    assert problems(tmp_path, CAMPAIGND_DATABASE_URL_FILE="/not/there") == [
        "database_url (CAMPAIGND_DATABASE_URL_FILE): /not/there: No such file or directory"
    ]


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("[api]\nport = 65536", "api.port = 65536 (c.toml:2): allowed is a port from 0 to 65535,"),
        ("[api]\n\n# x\nport = -1", "api.port = -1 (c.toml:4): allowed is a port"),
        ("api.port = true", "api.port = True (c.toml:1): a boolean is not a number; allowed is"),
        ("[api]\nenabled = 'maybe'", "api.enabled = 'maybe' (c.toml:2): allowed is true or false"),
        ("api = 3", "api = 3 (c.toml:1): allowed is a table"),
        ("[[api]]\nport = 3", "api = [{'port': 3}] (c.toml:1): allowed is a table"),
        ("[api.port]\nx = 1", "api.port = {'x': 1} (c.toml:1): allowed is a port"),
        ("[scheduler]\nlease = 0", "scheduler.lease = 0 (c.toml:2): allowed is seconds, more than"),
        ("[scheduler]\nlease = inf", "scheduler.lease = inf (c.toml:2): allowed is seconds"),
        ("[scheduler]\nlease = nan", "scheduler.lease = nan (c.toml:2): allowed is seconds"),
        ("[scheduler]\nlease = 1", "scheduler.lease = 1 (c.toml:2): allowed is more than"),
        ("[scheduler]\npoll = 90", "scheduler.poll = 90 (c.toml:2): allowed is less than"),
        ("[scheduler]\nmisfire_grace_time = 1.5", "scheduler.misfire_grace_time = 1.5 (c.toml:2)"),
        ("node_name = 'a b'", "node_name = 'a b' (c.toml:1): contains other characters"),
        ("node_name = ''", "node_name = '' (c.toml:1): contains other characters"),
        ("state_dir = 3", "state_dir = 3 (c.toml:1): allowed is the path of a directory"),
        ("[log]\nlevel = 'loud'", "log.level = 'loud' (c.toml:2): allowed is one of debug, info,"),
        ("[log]\nlevle = 'info'", "log.levle (c.toml:2): unknown setting, did you mean log.level?"),
        ("port = 80", "port (c.toml:1): unknown setting, did you mean api.port?"),
        ("[apii]\nport = 80", "apii (c.toml:1): unknown setting"),
        ("zzz = 80", "zzz (c.toml:1): unknown setting"),
        ("[targets.a]", "targets.a.type (c.toml:1): missing; allowed is one of log"),
        ("[targets.a]\ntype = 'fax'", "targets.a.type = 'fax' (c.toml:2): allowed is one of log"),
        ("[targets.A]\ntype = 'log'", "targets.A (c.toml:2): allowed in a target's name are"),
        (
            "[targets.a]\ntype='log'\nlevl='x'",
            "targets.a.levl (c.toml:3): unknown setting, did you",
        ),
        ("targets = 3", "targets = 3 (c.toml:1): allowed is a table"),
        ("targets.a = 3", "targets.a = 3 (c.toml:1): allowed is a table"),
        ("a = ", "c.toml: not valid TOML: "),
    ],
)
def test_wrong_in_the_file(tmp_path: Path, toml: str, expected: str) -> None:
    """The message has name, value, file, line and allowed values."""
    found = problems(tmp_path, toml)
    assert len(found) == 1
    assert found[0].startswith(expected)


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        (
            "CAMPAIGND_API__PORT",
            "http",
            "api.port = 'http' (CAMPAIGND_API__PORT): allowed is a port",
        ),
        (
            "CAMPAIGND_API_PORT",
            "1",
            "CAMPAIGND_API_PORT: unknown setting, did you mean CAMPAIGND_AP",
        ),
        (
            "CAMPAIGND_PORT",
            "1",
            "CAMPAIGND_PORT: unknown setting, did you mean CAMPAIGND_API__PORT?",
        ),
        (
            "CAMPAIGND_DATABASE",
            "x",
            "CAMPAIGND_DATABASE: unknown setting, did you mean CAMPAIGND_DAT",
        ),
        (
            "CAMPAIGND_TIMEZONE_DATA",
            "latest",
            "timezone_data = 'latest' (CAMPAIGND_TIMEZONE_DATA): allowed is one of newest, system,",
        ),
        ("CAMPAIGND_API__PORT__X", "1", "CAMPAIGND_API__PORT__X: unknown setting"),
        (
            "CAMPAIGND_api__port",
            "1",
            "CAMPAIGND_api__port: unknown setting, did you mean CAMPAIGND_",
        ),
        ("CAMPAIGND_QQQ", "1", "CAMPAIGND_QQQ: unknown setting"),
        ("CAMPAIGND_NODE_NAME_FILE", "/x", "CAMPAIGND_NODE_NAME_FILE: unknown setting"),
    ],
)
def test_wrong_in_the_environment(tmp_path: Path, variable: str, value: str, expected: str) -> None:
    """The message names the variable as the place."""
    found = problems(tmp_path, **{variable: value})
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_all_problems_at_once(tmp_path: Path) -> None:
    """One attempt reports every problem."""
    found = problems(
        tmp_path,
        "nonsense = 1\n[api]\nport = -1\n[scheduler]\nlease = -1\n",
        CAMPAIGND_LOG__LEVEL="loud",
        CAMPAIGND_NONSENSE="1",
    )
    assert len(found) == 5


@pytest.mark.parametrize("service", ["CAMPAIGND", "CAMPAIGND_API", "CAMPAIGND__OLD_POSTGRES"])
def test_service_links_are_no_settings(tmp_path: Path, service: str) -> None:
    """Kubernetes and Docker set these variables, for services of any name."""
    kubernetes = {
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT": "8080",
        "SERVICE_PORT_HTTP_API": "8080",
        "PORT": "tcp://10.0.0.1:8080",
        "PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "PORT_8080_TCP_ADDR": "10.0.0.1",
        "PORT_8080_TCP_PORT": "8080",
        "PORT_8080_TCP_PROTO": "tcp",
        "PORT_53_UDP": "udp://10.0.0.1:53",
    }
    docker = {"NAME": "/web/it", "ENV_PGDATA": "/data", "PORT_80_TCP_START": "tcp://10.0.0.1:80"}
    link = {f"{service}_{name}": value for name, value in {**kubernetes, **docker}.items()}
    assert load(tmp_path, **link) == load(tmp_path)


def test_what_only_resembles_a_service_link_is_an_unknown_setting(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        CAMPAIGND_API_PORT="8080",
        CAMPAIGND_ENV_HOME="/root",
        CAMPAIGND_NAME="it",
        CAMPAIGND_X_NAME="/web/it",
        CAMPAIGND_X_ENVIRONMENT="production",
    )
    assert len(found) == 4
    assert "did you mean CAMPAIGND_API__PORT?" in found[0]


def test_target_from_the_environment(tmp_path: Path) -> None:
    """Variables alone can configure a target."""
    settings = load(tmp_path, CAMPAIGND_TARGETS__A__TYPE="log", CAMPAIGND_TARGETS__A__LEVEL="DEBUG")
    assert settings.targets["a"].level == "debug"
    assert set(settings.targets) == {"a", "log"}


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://",
        "postgresql:///d",
        "postgresql://u:p%40ss@h:5432/d?sslmode=require",
        "postgresql://u:p?s:s#&=@h/d",
        "postgresql://h1:5432,h2:5433/d?target_session_attrs=read-write",
        "postgresql://h1,h2:5433/d?load_balance_hosts=random&",
        "postgresql://h1,h2/d?hostaddr=127.0.0.1,::1&port=5433",
        "postgresql://[::1]:5432/d",
        "postgresql:///d?host=/var/run/postgresql&port=5433",
        "postgresql:///d?host=/tmp/a%2Fb&user=me@realm&connect_timeout=5",
        "postgresql://%2Fvar%2Frun/d?options=-c%20search_path%3Dcamps",
        "postgresql://h/d?ssl=true",
    ],
)
def test_good_urls(text: str) -> None:
    """URLs that libpq accepts."""
    assert checked_dsn(text) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("h", "must begin with postgresql://"),
        ("mysql://h/d", "must begin with postgresql://"),
        ('"postgresql://u:hunter2@h/d"', "must not begin with a quote"),
        ("'postgresql://u:hunter2@h/d'", "must not begin with a quote"),
        (" postgresql://u:hunter2@h/d", "must not begin with white space"),
        ("jdbc:postgresql://h/d?password=hunter2", "must not begin with jdbc:"),
        ("postgresql+psycopg2://u:hunter2@h/d", "must not name a driver after postgresql"),
        ("postgres+asyncpg://u:hunter2@h/d", "must not name a driver after postgresql"),
        ("host=h password=hunter2", "must not be a list of parameters such as host=... dbname=..."),
        ("postgresql://u:hunter2 @h/d", "contains white space; write a space as %20"),
        ("postgresql://u:hunter2%zz@h/d", "contains a % that begins no code; write a % as %25"),
        ("postgresql://u:hunter2%00@h/d", "contains something that libpq cannot parse"),
        ("postgresql://u:hunter2/b@h/d", "write a / in the password as %2F and an @ as %40"),
        ("postgresql://u:hunter2@b@h/d", "write a / in the password as %2F and an @ as %40"),
        ("postgresql://u:hunter2/?@h/d", "write a / in the password as %2F and an @ as %40"),
        ("postgresql://u:hunter2", "a host is not of the form name:port"),
        ("postgresql://u:hunter2/d", "a host is not of the form name:port"),
        ("postgresql://h:0/d", "a port is not from 1 to 65535"),
        ("postgresql://h:65536/d", "a port is not from 1 to 65535"),
        ("postgresql:///d?port=x", "a port is not from 1 to 65535"),
        ("postgresql:///d?hostaddr=h", "a hostaddr is not an IP address"),
        ("postgresql://h1,h2/d?port=1,2,3", "contains 2 hosts and 3 ports for them"),
        (
            "postgresql://h1,h2/d?hostaddr=127.0.0.1",
            "contains 2 hosts and 1 addresses for them",
        ),
        ("postgresql://h/d?x", "an option is not of the form name=value"),
        ("postgresql://h/d?&sslmode=require", "an option is not of the form name=value"),
        (
            "postgresql://u:hunter2@h/d?schema=public",
            "contains an option schema that PostgreSQL does not know",
        ),
        (
            "postgresql://h/d?hunter2=a@b",
            "contains an option that PostgreSQL does not know",
        ),
        (
            "postgresql://h/d?options=-c%20search_path=camps",
            "contains a = in the value of options; write it as %3D",
        ),
        (
            "postgresql://h/d?connect_timeout=abc",
            "contains an option connect_timeout that is not a whole number",
        ),
        (
            "postgresql://h/d?keepalives_idle=1s",
            "contains an option keepalives_idle that is not a whole number",
        ),
        (
            "postgresql://u:hunter2@h/d?sslmode=always",
            "contains a value of sslmode that libpq refuses; it is one of disable, allow, prefer,"
            " require, verify-ca or verify-full",
        ),
        (
            "postgresql://h/d?target_session_attrs=rw",
            "contains a value of target_session_attrs that libpq refuses; it is one of any,"
            " read-write, read-only, primary, standby or prefer-standby",
        ),
        (
            "postgresql://h/d?channel_binding=x",
            "contains a value of channel_binding that libpq refuses",
        ),
        (
            "postgresql:///?service=none",
            "contains a service that is not in a readable pg_service.conf",
        ),
    ],
)
def test_bad_urls(tmp_path: Path, text: str, reason: str) -> None:
    """The message names the reason, and never contains the password."""
    quoted = json.dumps(text)
    for setting in ("database_url", "listen_database_url"):
        (problem,) = problems(tmp_path, f"{setting} = {quoted}")
        assert problem.startswith(f"{setting} = ")
        assert f": {reason}; allowed is a postgresql:// URL" in problem
        assert "hunter2" not in problem


def test_a_bad_value_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """libpq reads its own variables as well; the message names the variable."""
    monkeypatch.setenv("PGSSLMODE", "always")
    (problem,) = problems(tmp_path, "database_url = 'postgresql://u:hunter2@h/d'")
    assert (
        ": is used with the variable PGSSLMODE, which contains a value of sslmode that" in problem
    )
    monkeypatch.delenv("PGSSLMODE")
    monkeypatch.setenv("PGHOST", "h1,h2")
    monkeypatch.setenv("PGPORT", "1,2")
    assert load(tmp_path, "database_url = 'postgresql:///d'").database_url == "postgresql:///d"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:secret@h/d", "postgresql://u:***@h/d"),
        ("postgres://u:secret@h1,h2/d?x=y", "postgresql://u:***@h1,h2/d?x=y"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql:///d?password=secret&x=y", "postgresql:///d?password=***&x=y"),
        ("postgresql:///d?p%61ssword=secret", "postgresql:///d?p%61ssword=***"),
        ("postgresql:///d?sslpassword=secret", "postgresql:///d?sslpassword=***"),
        ("postgresql:///d?oauth_client_secret=secret", "postgresql:///d?oauth_client_secret=***"),
        ("postgresql:///d?password=sec@ret", "postgresql:///d:***"),
        ("postgresql://u:sec/r@et@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:sec?x=r@et@h/d", "postgresql://u:***"),
        ("postgresql://u:secret", "postgresql://***"),
        ("postgresql://h:5432/d", "postgresql://h:5432/d"),
        ("postgresql://[::1]:5432/d", "postgresql://[::1]:5432/d"),
        ("password=secret host=h", "***"),
    ],
)
def test_redacted_dsn(text: str, shown: str) -> None:
    """Passwords are hidden, also in a URL that is not well formed."""
    assert redacted_dsn(text) == shown


def test_what_needs_a_restart(tmp_path: Path) -> None:
    """Changed settings outside of the reloadable sections, by their dotted names."""
    toml = """
    [api]
    port = 9
    [scheduler]
    horizon = 30
    [targets.shop]
    type = "webhook"
    url = "https://shop.example/hook"
    """
    before = load(tmp_path, toml)
    changed = toml.replace("30", "31").replace("9", "8").replace("shop.e", "shops.e")
    after = load(tmp_path, changed, {"state_dir": "/elsewhere"})
    assert needs_restart(before, after) == ["state_dir", "api.port", "scheduler.horizon"]
    assert needs_restart(before, before) == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('queue = "campaigns.*"', "targets.bus.queue = campaigns.*"),
        ('task = "shop.run"', "targets.bus.task = shop.run"),
        ("queue_arguments = { x-max-length = 9 }", "targets.bus.queue_arguments"),
    ],
)
def test_what_a_broker_of_nats_cannot_have(line: str, problem: str, tmp_path: Path) -> None:
    toml = f'[targets.bus]\ntype = "broker"\nbroker_url = "nats://host"\n{line}\n'
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, toml)
    (found,) = caught.value.problems
    assert found.startswith(problem)


def test_celery_calls_are_no_cloud_events(tmp_path: Path) -> None:
    toml = (
        '[targets.bus]\ntype = "broker"\nbroker_url = "redis://h/0"\n'
        'task = "t"\nformat = "cloudevents"\n'
    )
    with pytest.raises(ConfigurationError, match=r"targets\.bus\.format"):
        load(tmp_path, toml)


def test_loading_is_light() -> None:
    """Settings import none of the daemon's libraries."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, config.load; print([m for m in"
            " ('sqlalchemy', 'psycopg', 'structlog', 'rich', 'daemon') if m in sys.modules])",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
