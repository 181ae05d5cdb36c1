"""The examples and the table of limits in docs/api.md are correct."""

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
from tests.support.api_server import RunningApi

TEXT = (Path(__file__).parents[3] / "docs" / "api.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.M | re.S)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_example_of_the_page_works(api: RunningApi) -> None:
    """All commands of the page succeed, in the order of the page."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {
        "PATH": path,
        "KEY": api.keys[Scope.WRITE],
        "API": api.url,
        "CAMPAIGND_DATABASE_URL": api.database.url,
        "HOME": "/nowhere",
    }
    outputs = []
    repeated, cleared = "", ""
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
            outputs.append(done.stdout)
            if "Idempotency-Key" in block:
                repeated = done.stdout
            if "DELETE" in block and "/schedule" in block:
                cleared = done.stdout
    assert outputs[0].startswith("cdk_")
    assert outputs[1].count("cdk_") == 2
    assert json.loads(outputs[2])["status"] == "draft"
    assert json.loads(outputs[3])["status"] == "scheduled"
    assert json.loads(outputs[4]) == {
        "occurrences": ["2031-02-15T08:00:00Z"],
        "summary": "once on Saturday 15 February 2031 at 09:00 in Paris",
    }
    half = len(repeated) // 2
    assert repeated
    assert repeated[:half] == repeated[half:]
    assert json.loads(cleared)["message"] == "Schedule cleared"


def test_the_example_of_an_error_is_real(api: RunningApi) -> None:
    """The server answers an empty body with the error on the page."""
    (text,) = [block for language, block in BLOCKS if language == "json"]
    campaign = api.create_campaign()
    response = api.http.patch(f"/campaigns/{campaign['uuid']}/update_schedule", json={})
    assert response.json() == json.loads(text)


def test_the_table_of_limits_is_complete() -> None:
    """The table has every setting of [api] but the address, with its default."""
    rows = dict(re.findall(r"^\| (`[a-z_`, ]+`) \| ([^|]+) \|", TEXT, re.M))
    documented = {
        name: value.strip().split(", ")[at].removesuffix(" s")
        for names, value in rows.items()
        if value.strip()[:1].isdigit()
        for at, name in enumerate(re.findall(r"`([a-z_]+)`", names))
    }
    fields = ApiSettings().model_dump(
        exclude={"enabled", "host", "port", "trusted_proxies", "public_url", "hosts"}
    )
    assert documented == {
        name: f"{value:g}" if isinstance(value, float) else str(value)
        for name, value in fields.items()
    }
