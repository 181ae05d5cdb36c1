"""Lays out the files of the Debian package beside its virtual environment; `make deb` calls it."""

from __future__ import annotations

import gzip
import platform
import shutil
import subprocess
import sys
from pathlib import Path

SHARED = {
    "share/bash-completion/completions/campaignd": (
        "usr/share/bash-completion/completions/campaignd"
    ),
    "share/zsh/site-functions/_campaignd": "usr/share/zsh/vendor-completions/_campaignd",
    "share/fish/vendor_completions.d/campaignd.fish": (
        "usr/share/fish/vendor_completions.d/campaignd.fish"
    ),
    "share/campaignd/alerts.yml": "usr/share/campaignd/alerts.yml",
    "share/campaignd/grafana-dashboard.json": "usr/share/campaignd/grafana-dashboard.json",
    "share/campaignd/systemd/campaignd.sysusers": "usr/lib/sysusers.d/campaignd.conf",
    "share/campaignd/systemd/README.md": "opt/campaignd/systemd/README.md",
}
"""What the wheel has put into the environment, and where Debian has it."""


def lay_out(root: Path, python: str) -> None:
    """Copy manual page, completions, units and licences from the environment to their places.

    Args:
        root: the directory that becomes the root of the package.
        python: the interpreter of the machine that the package is for.
    """
    environment = root / "opt/campaignd/.venv"
    for source, target in SHARED.items():
        _copy(environment / source, root / target)
    share = environment / "share"
    for unit in (share / "campaignd/systemd").glob("*.service"):
        _copy(unit, root / "usr/lib/systemd/system" / unit.name)
    _copy(share / "campaignd/systemd/campaignd-as-service", root / "usr/bin/campaignd", mode=0o755)
    manual = root / "usr/share/man/man1/campaignd.1.gz"
    manual.parent.mkdir(parents=True)
    manual.write_bytes(gzip.compress((share / "man/man1/campaignd.1").read_bytes(), mtime=0))
    (root / "usr/share/doc/campaignd").mkdir(parents=True)
    licences = "\n".join(Path(name).read_text("utf-8") for name in ("NOTICE", "LICENSE"))
    (root / "usr/share/doc/campaignd/copyright").write_text(licences)
    _move_environment(environment, "/opt/campaignd/.venv")
    version = _output(python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    major, minor = version.split(".")
    program = [str(environment / "bin" / name) for name in ("python", "campaignd")]
    release = _output(*program, "--version").split()[-1]
    (root.parent / "variables").write_text(
        f"VERSION={release}\n"
        f"ARCH={ {'x86_64': 'amd64', 'aarch64': 'arm64'}[platform.machine()] }\n"
        f"PYTHON='python3 (>= {version}), python3 (<< {major}.{int(minor) + 1})'\n"
    )


def _move_environment(environment: Path, to: str) -> None:
    """Write the final path into the scripts; they start the interpreter by it."""
    was = str(environment.resolve()).encode()
    for path in [*(environment / "bin").iterdir(), environment / "pyvenv.cfg"]:
        if path.is_file() and not path.is_symlink():
            path.write_bytes(path.read_bytes().replace(was, to.encode()))


def _copy(source: Path, target: Path, mode: int = 0o644) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]), sys.argv[2])
