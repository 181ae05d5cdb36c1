"""The commands with `--server`: through the HTTP API, without the database."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.domain.api_keys import Scope
from tests.support.api_server import RunningApi
from tests.support.in_process import run_campaignd
from tests.support.waiting import free_port

Remote = Callable[..., subprocess.CompletedProcess[str]]
WEEKLY = ("--every", "mon", "--interval", "2", "--at", "09:00", "--zone", "Europe/Paris")


@pytest.fixture
def remote(api: RunningApi, tmp_path: Path) -> Remote:
    """Run a command on the server; the machine has no database."""
    key = tmp_path / "key"
    key.write_text(api.keys[Scope.WRITE] + "\n")
    kept = {name: value for name, value in os.environ.items() if "CAMPAIGND" not in name}
    env = {**kept, "CAMPAIGND_SERVER": api.url, "CAMPAIGND_KEY_FILE": str(key)}

    def run(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
        return run_campaignd(arguments, {**env, **more})

    return run


def lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_a_campaign_from_its_creation_to_its_deletion(remote: Remote, api: RunningApi) -> None:
    made = lines(remote("create", "Remote letter", *WEEKLY, "--payload", '{"a": {"b": 1}, "c": 2}'))
    assert made[0].endswith(" scheduled")
    number = made[0].split()[1]
    assert made[1].startswith("every second Monday at 09:00 in Paris")
    assert lines(remote("edit", "Remote letter", "--at", "10:00"))[-1] == f"campaign {number} saved"
    lines(remote("edit", number, "--payload", '{"a": {"d": 3}}', "--name", "Letter"))
    shown = json.loads(remote("show", "Letter", "--json").stdout)
    assert (shown["payload"], shown["schedule"]["body"]["recurring_config"]["time"]) == (
        {"a": {"d": 3}},
        "10:00",
    )
    stored = api.http.get(f"/campaigns/{number}/schedule").json()
    assert shown["schedule"]["summary"] == stored["summary"]
    assert shown["next_run_at"] == stored["next_run_at"]
    assert lines(remote("pause", number)) == [f"campaign {number} paused"]
    assert "missed unless `campaignd start" in remote("show", number).stdout
    assert lines(remote("start", number))[0].startswith(f"campaign {number} scheduled, next run at")
    copied = lines(remote("copy", number, "Second"))[0].split()[1]
    assert lines(remote("rename", copied, "Third")) == [f"campaign {copied} is called 'Third'"]
    assert lines(remote("run-now", number)) == [f"campaign {number} executing, runs now"]
    lines(remote("stop", number, "--yes"))
    lines(remote("archive", number))
    assert lines(remote("delete", number, copied, "--yes")) == [
        f"campaign {number} deleted",
        f"campaign {copied} deleted",
    ]
    assert remote("show", number).returncode == 1


def test_lists_read_every_page(remote: Remote, api: RunningApi) -> None:
    """Also more campaigns than a page of the API holds, and runs by their short ids."""
    for name in ("one", "two", "three"):
        api.create_armed_campaign(name=f"listed {name}")
    listed = [json.loads(line) for line in lines(remote("campaigns", "--json", "-n", 1000))]
    known = api.http.get("/campaigns", params={"limit": 500}).json()["items"]
    assert [each["id"] for each in listed] == [each["id"] for each in known]
    assert {each["name"] for each in listed} >= {"listed one", "listed two", "listed three"}
    lines(remote("run-now", "listed one"))
    run = json.loads(lines(remote("runs", "listed one", "--json"))[0])
    refused = remote("retry", run["id"][:10])
    assert (refused.returncode, "begins with" in refused.stderr) == (1, False)
    assert any("listed two" in line for line in lines(remote("upcoming", "-n", 500)))
    assert len(lines(remote("upcoming", "listed two", "-n", 3, "--json"))) == 3
    explained = lines(remote("explain", "listed two", "--at", "2031-01-01 09:00"))
    assert any("2031-01-01T09:00:00Z" in line for line in explained)
    assert any("listed two" in line for line in lines(remote("agenda", "--from", "tomorrow")))
    assert any("live" in line for line in lines(remote("status", "--counts")))


def test_a_dry_run_over_http_saves_nothing(remote: Remote) -> None:
    done = lines(remote("create", "Never", *WEEKLY, "--dry-run"))
    assert done[-1] == "nothing is saved"
    assert remote("show", "Never").returncode == 1


def test_what_goes_wrong_is_one_line(remote: Remote, api: RunningApi, tmp_path: Path) -> None:
    away = remote("campaigns", "--server", f"http://127.0.0.1:{free_port()}")
    assert (away.returncode, away.stderr.count("\n")) == (3, 1)
    assert "is the daemon running" in away.stderr
    wrong = tmp_path / "wrong"
    wrong.write_text("cdk_wrong")
    refused = remote("campaigns", "--key-file", wrong)
    assert (refused.returncode, "--key-file names the API key" in refused.stderr) == (1, True)
    assert "target is 'nix'" in remote("create", "X", "--target", "nix").stderr
    assert remote("campaigns", "--key-file", tmp_path / "missing").returncode == 2
    assert remote("campaigns", CAMPAIGND_KEY_FILE="").returncode == 2
    local = remote("keys", "list", "--server", api.url)
    assert (local.returncode, "run it without --server" in local.stderr) == (2, True)


def test_a_profile_names_the_server_and_its_key(
    remote: Remote, api: RunningApi, tmp_path: Path
) -> None:
    profiles = tmp_path / "campaignd" / "servers.toml"
    profiles.parent.mkdir()
    profiles.write_text(f'[test]\nurl = "{api.url}/"\nkey = "{api.keys[Scope.READ]}"\n')
    here = {"XDG_CONFIG_HOME": str(tmp_path), "CAMPAIGND_KEY_FILE": ""}
    assert remote("campaigns", "--server", "test", **here).returncode == 0
    assert "Permission denied" in remote("create", "X", "--server", "test", **here).stderr
    unknown = remote("campaigns", "--server", "tset", **here)
    assert "there is no profile 'tset'; there are: test" in unknown.stderr
