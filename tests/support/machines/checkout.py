"""This checkout as a repository that can be cloned, with changes that are not committed yet."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

_IGNORED = shutil.ignore_patterns(
    ".git", ".venv", "__pycache__", "*.pyc", ".*_cache", "build", "dist"
)


def copy_project_files(top: Path, to: Path) -> None:
    """List the files of the project as git does; without git, all files that are not generated."""
    listed = subprocess.run(
        ["git", "-C", top, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=False,
    )
    if listed.returncode != 0:
        shutil.copytree(top, to, ignore=_IGNORED, dirs_exist_ok=True)
        return
    for name in filter(None, listed.stdout.decode().split("\0")):
        source, target = top / name, to / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)


def make_bare_repository(top: Path, to: Path) -> None:
    """Make a bare repository with one commit: the project as it is now."""
    tree = to.with_suffix(".tree")
    copy_project_files(top, tree)
    git = ["git", "-C", str(tree), "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "--all", "--force"],
        ["commit", "--quiet", "--message=as it is"],
    ):
        subprocess.run([*git, *command], check=True, capture_output=True)
    subprocess.run(["git", "clone", "--quiet", "--bare", tree, to], check=True, capture_output=True)
    shutil.rmtree(tree)
