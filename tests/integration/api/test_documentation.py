"""docs/api.md is followed to the letter."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from config.settings import ApiSettings
from daemon.domain.api_keys import Scope
from tests.support.api_server import Api

TEXT = (Path(__file__).parents[3] / "docs" / "api.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.M | re.S)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_every_example(api: Api) -> None:
    """One after the other, as somebody would who reads the page."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {
        "PATH": path,
        "KEY": api.keys[Scope.WRITE],
        "API": api.url,
        "CAMPAIGND_DATABASE_URL": api.world.url,
        "HOME": "/nowhere",
    }
    answers = []
    for language, block in BLOCKS:
        if language == "sh":
            done = subprocess.run(
                ["bash", "-eu", "-o", "pipefail", "-c", block],
                env=env,
                capture_output=True,
                text=True,
                timeout=150,
                check=False,
            )
            assert done.returncode == 0, block + done.stdout + done.stderr
            answers.append(done.stdout)
    assert answers[0].startswith("cdk_")
    assert json.loads(answers[1])["status"] == "draft"
    assert json.loads(answers[2])["status"] == "scheduled"
    assert json.loads(answers[3]) == {"occurrences": ["2031-02-15T08:00:00Z"]}
    twice = answers[5]
    assert twice[: len(twice) // 2] == twice[len(twice) // 2 :]
    assert json.loads(answers[6])["message"] == "Schedule cleared"


def test_the_example_of_an_error(api: Api) -> None:
    """Is what the server answers."""
    (text,) = [block for language, block in BLOCKS if language == "json"]
    campaign = api.campaign()
    answer = api.http.patch(f"/campaigns/{campaign['uuid']}/update_schedule", json={})
    assert answer.json() == json.loads(text)


def test_the_table_of_limits() -> None:
    """Has every setting of [api] but the address, with its default."""
    rows = dict(re.findall(r"^\| (`[a-z_`, ]+`) \| ([^|]+) \|", TEXT, re.M))
    told = {
        name: value.strip().split(", ")[at].removesuffix(" s")
        for names, value in rows.items()
        if value.strip()[:1].isdigit()
        for at, name in enumerate(re.findall(r"`([a-z_]+)`", names))
    }
    fields = ApiSettings().model_dump(exclude={"enabled", "host", "port"})
    assert told == {
        name: f"{value:g}" if isinstance(value, float) else str(value)
        for name, value in fields.items()
    }
