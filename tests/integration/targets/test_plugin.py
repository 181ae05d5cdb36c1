"""Targets of other packages: the example is installed and used as documented."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from daemon.targets import UnusableTarget, plugin
from daemon.targets.plugin import make_target
from tests.support.capture import CapturedEvents

EXAMPLE = Path(__file__).parents[3] / "docs" / "example_target"

USE = """
import asyncio, json, sys
from config.load import load_settings
from daemon.targets.registry import build_all
from tests.support.builders import new_attempt
from tests.support.capture import CapturedEvents
from pathlib import Path

built = build_all(load_settings(Path(sys.argv[1])).targets, CapturedEvents())
target, policy, concurrency = built["files"]
outcomes = [asyncio.run(target.deliver(new_attempt(number=number))) for number in (1, 2)]
print(json.dumps([str(outcomes), type(target).__module__, policy.holds, concurrency]))
"""


def test_the_example_is_installed_and_used(tmp_path: Path) -> None:
    """The package is installed with pip, found by its entry point, and delivers."""
    site, out = tmp_path / "site", tmp_path / "out"
    out.mkdir()
    source = tmp_path / "source"
    subprocess.run(["cp", "-r", EXAMPLE, source], check=True)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    install += ["--no-build-isolation", "--disable-pip-version-check", "--target", str(site)]
    subprocess.run([*install, str(source)], check=True, timeout=150)
    config = tmp_path / "campaignd.toml"
    config.write_text(
        f"[targets.files]\ntype = 'plugin'\nplugin = 'example'\non_lost = 'hold'\n"
        f"concurrency = 3\noptions = {{ directory = '{out}' }}\n"
    )
    path = f"{site}:{Path(__file__).parents[3]}"
    done = subprocess.run(
        [sys.executable, "-c", USE, str(config)],
        env={"PYTHONPATH": path, "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ('["[Delivered(), Delivered()]", "example_target", true, 3]')
    (file,) = out.iterdir()  # the same run, the same file
    assert '"attempt": 2' in file.read_text()


def test_one_that_is_not_installed() -> None:
    """The message names the missing target and the installed ones."""
    with pytest.raises(UnusableTarget, match="plugin is invalid: 'fax'"):
        make_target("fax", "files", {}, CapturedEvents())


def test_a_plug_in_that_makes_no_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that does not derive from the base class is refused at the start."""
    entry = EntryPoint("odd", "builtins:print", plugin.GROUP)
    monkeypatch.setattr(plugin, "entry_points", lambda **_: [entry])
    with pytest.raises(UnusableTarget, match="'odd' made NoneType, not a campaignd"):
        make_target("odd", "files", {}, CapturedEvents())
