"""A fresh clone needs only make and Python."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ORDINARY = "nobody"

pytestmark = [pytest.mark.machine, pytest.mark.timeout(900)]


@pytest.fixture(params=["as we are", "ordinary user"])
def owner(request: pytest.FixtureRequest) -> pwd.struct_passwd | None:
    """Return the owner of the clone; None stands for the user who runs the tests."""
    if request.param == "as we are":
        return None
    if os.geteuid() != 0:
        pytest.skip("not root: the other form has tested an ordinary user")
    python = Path(sys.executable).resolve()
    if any(not parent.stat().st_mode & stat.S_IXOTH for parent in [python, *python.parents]):
        pytest.skip(f"{python} is not open to other users")
    try:
        return pwd.getpwnam(ORDINARY)
    except KeyError:
        pytest.skip(f"this machine has no user {ORDINARY}")


@pytest.fixture
def clone(owner: pwd.struct_passwd | None) -> Iterator[Path]:
    """A clone of the last commit, in a path with a space, with a home directory beside it."""
    missing = [tool for tool in ("git", "make") if shutil.which(tool) is None]
    if missing or not (ROOT / ".git").exists():
        pytest.skip(f"needs a git checkout and {' and '.join(missing or ['git'])}")
    top = Path(tempfile.mkdtemp(prefix="campaignd clone "))
    top.chmod(0o755)
    try:
        place = top / "a checkout"
        subprocess.run(["git", "clone", "--quiet", ROOT, place], check=True)
        (top / "home").mkdir()
        if owner is not None:
            for path in [top, *top.rglob("*")]:
                os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
        yield place
    finally:
        shutil.rmtree(top, ignore_errors=True)


def test_install_and_run(clone: Path, owner: pwd.struct_passwd | None) -> None:
    """`make install` gives the command, `make run` ends with exit code 0."""

    def call(*command: str | Path) -> subprocess.CompletedProcess[str]:
        env = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("CAMPAIGND_", "XDG_", "MAKE", "PYTEST", "VIRTUAL_ENV"))
        }
        env |= {"HOME": str(clone.parent / "home"), "PYTHON": sys.executable}
        options = {} if owner is None else {"user": owner.pw_uid, "group": owner.pw_gid}
        if owner is not None:
            options["extra_groups"] = []
        done = subprocess.run(
            command,
            cwd=clone,
            env=env,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
            **options,  # type: ignore[call-overload]
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    call("make", "install")
    command = clone / ".venv" / "bin" / "campaignd"
    assert call(command, "--version").stdout.startswith("campaignd ")
    (site,) = (clone / ".venv").glob("lib/python*/site-packages")
    assert not {path.name for path in site.iterdir()} & {"pip", "setuptools", "hatchling"}
    shown = call("make", "run").stdout
    assert shown.strip()
    changed = call("git", "-c", f"safe.directory={clone}", "status", "--porcelain").stdout
    assert changed == "", "a run leaves nothing in the checkout"
