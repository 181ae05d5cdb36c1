"""`campaignd api` applies its configuration again at SIGHUP, as the daemon does."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.support.api_server import running_server

HOOK = '[targets.{name}]\ntype = "webhook"\nurl = "http://127.0.0.1:9/"\nmax_attempts = {most}\n'


def test_the_api_alone_reloads(database_url: str, tmp_path: Path) -> None:
    """New targets and their retry policies are used; an invalid file changes nothing."""
    file = tmp_path / "campaignd.toml"
    file.write_text(HOOK.format(name="first", most=1))
    with running_server(tmp_path, database_url, "api", CAMPAIGND_CONFIG=file) as api:
        draft = {"name": "x", "target": "second"}
        assert api.http.post("/campaigns", json=draft).status_code == 400

        wider = '[api]\nmax_requests = 99\n[log]\nlevel = "debug"\n'
        file.write_text(HOOK.format(name="second", most=2) + wider)
        api.process.send_signal(signal.SIGHUP)
        event = api.process.wait_for("reloaded")
        assert event["needs_restart"] == ["api.max_requests"]
        assert api.http.post("/campaigns", json=draft).status_code == 201
        mark = api.process.line_count()
        api.http.get("/../../healthz")
        api.process.wait_for("http_request", after=mark, level="debug")

        file.write_text('[log]\nlevel = "loud"\n')
        api.process.send_signal(signal.SIGHUP)
        assert "log.level" in api.process.wait_for("reload_failed")["error"]
        recorded = (
            "SELECT array_agg(outcome ORDER BY id) = '{done,failed}' FROM audit_log"
            " WHERE action = 'configuration.reloaded' AND command = 'campaignd api'"
        )
        api.database.wait_until(recorded)
        assert api.http.post("/campaigns", json=draft).status_code == 201
        api.process.send_signal(signal.SIGTERM)
        assert api.process.join() == 0
