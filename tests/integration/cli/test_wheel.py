"""The wheel: one top-level name, and every data file is where the code looks for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

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
    assert tops == {"campaignd", f"campaignd-{__version__}.dist-info"}
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
