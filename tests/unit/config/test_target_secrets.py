"""Secrets of targets: in a variable, in a file that a variable names, or as a credential."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.config.test_load import load, problems

QUEUE = '[targets.q]\ntype = "broker"\n'
ADDRESS = "amqp://user:pass@host//"
UNKNOWN = (
    "not a secret of a configured target; allowed is targets_NAME_SETTING, where SETTING is"
    " one of broker_url, environment, headers, options, proxy, secrets, url"
)


def write(directory: Path, **files: str) -> str:
    """Write files with these texts; return the path of their directory."""
    directory.mkdir(exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text + "\n")
    return str(directory)


def test_the_three_ways(tmp_path: Path) -> None:
    """Precedence: the environment, then a credential, then the configuration file."""
    toml = QUEUE + 'broker_url = "amqp://toml//"\n'
    directory = write(tmp_path / "c", targets_q_broker_url=ADDRESS)
    named = {"CAMPAIGND_TARGETS__Q__BROKER_URL_FILE": f"{directory}/targets_q_broker_url"}
    for given, settings in (
        ({"CAMPAIGND_TARGETS__Q__BROKER_URL": ADDRESS}, QUEUE),
        (named, QUEUE),
        ({"CREDENTIALS_DIRECTORY": directory}, QUEUE),
        (named, toml),
        ({"CREDENTIALS_DIRECTORY": directory}, toml),
    ):
        assert load(tmp_path, settings, **given).targets["q"].broker_url == ADDRESS
    variable = {"CAMPAIGND_TARGETS__Q__BROKER_URL": "redis://host/0"}
    found = load(tmp_path, QUEUE, CREDENTIALS_DIRECTORY=directory, **variable)
    assert found.targets["q"].broker_url == "redis://host/0"
    assert "pass" not in repr(found)


@pytest.mark.parametrize("name", ["q", "my-queue", "my_queue", "a_broker", "name"])
def test_any_name(tmp_path: Path, name: str) -> None:
    """A target's name is unchanged in a credential, and in upper case in a variable."""
    toml = f'[targets.{name}]\ntype = "broker"\n'
    directory = write(tmp_path / "c", **{f"targets_{name}_broker_url": ADDRESS})
    variable = f"CAMPAIGND_TARGETS__{name.upper()}__BROKER_URL_FILE"
    for given in (
        {variable: f"{directory}/targets_{name}_broker_url"},
        {"CREDENTIALS_DIRECTORY": directory},
    ):
        found = load(tmp_path, toml, **given)
        assert set(found.targets) == {name, "log"}
        assert found.targets[name].broker_url == ADDRESS


def test_a_target_that_is_in_the_environment_alone(tmp_path: Path) -> None:
    """A variable with its type makes the target known, and so its credential."""
    directory = write(tmp_path / "c", targets_crm_url="https://crm.example/hook")
    found = load(tmp_path, CAMPAIGND_TARGETS__CRM__TYPE="webhook", CREDENTIALS_DIRECTORY=directory)
    assert found.targets["crm"].url == "https://crm.example/hook"


def test_a_list_and_tables(tmp_path: Path) -> None:
    """Keys are words; a table is TOML, as in the configuration file."""
    toml = """
        [targets.crm]
        type = "webhook"
        url = "https://crm.example/hook"
        [targets.mailer]
        type = "command"
        argv = ["/bin/true"]
        [targets.other]
        type = "plugin"
        plugin = "example"
    """
    directory = write(
        tmp_path / "c",
        targets_crm_secrets="whsec_b25l\nwhsec_dHdv",
        targets_mailer_environment='KEY = "k"\nOTHER = "with = sign"',
        targets_other_options="depth = 3",
    )
    (tmp_path / "headers").write_text('authorization = "Bearer of-good-news"\n')
    found = load(
        tmp_path,
        toml,
        CREDENTIALS_DIRECTORY=directory,
        CAMPAIGND_TARGETS__CRM__HEADERS_FILE=str(tmp_path / "headers"),
    ).targets
    assert found["crm"].secrets == ("whsec_b25l", "whsec_dHdv")
    assert found["crm"].headers == {"authorization": "Bearer of-good-news"}
    assert found["mailer"].environment == {"KEY": "k", "OTHER": "with = sign"}
    assert found["other"].options == {"depth": 3}


def test_secrets_file_is_a_setting_of_its_own(tmp_path: Path) -> None:
    """Its variable is not mistaken for the file of the setting `secrets`."""
    found = load(
        tmp_path,
        CAMPAIGND_TARGETS__CRM__TYPE="webhook",
        CAMPAIGND_TARGETS__CRM__URL="https://crm.example/hook",
        CAMPAIGND_TARGETS__CRM__SECRETS="whsec_b25l",
        CAMPAIGND_TARGETS__CRM__SECRETS_FILE="/etc/campaignd/crm.secrets",
    ).targets["crm"]
    assert found.secrets == ("whsec_b25l",)
    assert found.secrets_file == Path("/etc/campaignd/crm.secrets")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (
            {"CAMPAIGND_TARGETS__Q__BROKER_URL_FILE": "/not/there"},
            "targets.q.broker_url (CAMPAIGND_TARGETS__Q__BROKER_URL_FILE): /not/there: No such",
        ),
        (
            {
                "CAMPAIGND_TARGETS__Q__BROKER_URL_FILE": "/x",
                "CAMPAIGND_TARGETS__Q__BROKER_URL": ADDRESS,
            },
            "CAMPAIGND_TARGETS__Q__BROKER_URL_FILE: CAMPAIGND_TARGETS__Q__BROKER_URL is set as",
        ),
        (
            {"CAMPAIGND_TARGETS__Q__QUEUE_FILE": "/x"},
            "CAMPAIGND_TARGETS__Q__QUEUE_FILE: unknown setting",
        ),
        (
            {"CAMPAIGND_TARGETS__q__BROKER_URL_FILE": "/x"},
            "CAMPAIGND_TARGETS__q__BROKER_URL_FILE: unknown setting",
        ),
    ],
)
def test_wrong_variables(tmp_path: Path, environ: dict[str, str], expected: str) -> None:
    """The message names the variable."""
    assert problems(tmp_path, QUEUE, **environ)[0].startswith(expected)


def test_wrong_credentials(tmp_path: Path) -> None:
    """A credential for an unknown target is an error; other credentials are ignored."""
    toml = QUEUE + 'broker_url = "amqp://host//"\n'
    directory = write(
        tmp_path / "c",
        targets_gone_url="https://gone.example/",
        targets_q_queue="jobs",
        targets_q_url="https://q.example/",
        targets_="x",
        another="x",
    )
    assert problems(tmp_path, toml, CREDENTIALS_DIRECTORY=directory) == [
        f"c/targets_: {UNKNOWN}",
        f"c/targets_gone_url: {UNKNOWN}",
        f"c/targets_q_queue: {UNKNOWN}",
        "targets.q.url (c/targets_q_url): not a setting of this type of target",
    ]


def test_a_credential_of_two_meanings(tmp_path: Path) -> None:
    """An ambiguous name is an error."""
    toml = QUEUE.replace("q]", "a]") + 'broker_url = "amqp://host//"\n'
    toml += '[targets.a_broker]\ntype = "webhook"\nurl = "https://a.example/"\n'
    directory = write(tmp_path / "c", targets_a_broker_url=ADDRESS)
    assert problems(tmp_path, toml, CREDENTIALS_DIRECTORY=directory) == [
        "c/targets_a_broker_url: ambiguous: targets.a.broker_url or targets.a_broker.url;"
        " name the file with CAMPAIGND_TARGETS__..._FILE"
    ]


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("headers", "pass-w0rd"),
        ("headers", "x = 1, pass-w0rd"),
        ("headers", 'x = ["pass-w0rd"]'),
        ("headers", 'x = "pass-w0rd\\u0000"'),
        ("url", "pass-w0rd"),
    ],
)
def test_a_secret_that_is_wrong_is_not_shown(tmp_path: Path, setting: str, text: str) -> None:
    """The message has name, place and allowed values only."""
    toml = '[targets.crm]\ntype = "webhook"\nurl = "https://crm.example/"\n'
    directory = write(tmp_path / "c", **{f"targets_crm_{setting}": text})
    (problem,) = problems(tmp_path, toml, CREDENTIALS_DIRECTORY=directory)
    assert problem.startswith(f"targets.crm.{setting}")
    assert f"c/targets_crm_{setting}" in problem
    assert "pass-w0rd" not in problem
