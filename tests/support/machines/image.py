"""Builds the container image where no engine runs: buildah, on a base made by debootstrap.

The base is Debian's minimal system with Python, from the mirror of this machine's apt. The packages
are those of the lock file, from the index of this machine's pip. As a program, this module builds
the image and prints its size.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from packaging.markers import Marker

ROOT = Path(__file__).parents[3]
NEEDED = {"buildah": "buildah", "debootstrap": "debootstrap"}
INDEX = ["apt-get", "indextargets", "--format", "$(SITE) $(CODENAME) $(COMPONENT)"]
UNWANTED = ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/man")


MARKERS = """
import json, platform, sys
print(json.dumps({
    "implementation_name": sys.implementation.name,
    "platform_machine": platform.machine(),
    "python_full_version": platform.python_version(),
    "python_version": ".".join(platform.python_version_tuple()[:2]),
    "sys_platform": sys.platform,
}))
"""
"""A program for a Python that has only its standard library."""


def why_no_images() -> str | None:
    """Return why this machine cannot build images, or None."""
    if os.geteuid() != 0:
        return "building a base image needs root"
    if not shutil.which("apt-get"):
        return "the base image is Debian's, and this is none"
    for package, program in NEEDED.items():
        if shutil.which(program) is None:
            env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", package]
            subprocess.run(install, env=env, capture_output=True, check=False)
        if shutil.which(program) is None:
            return f"{program} is not installed and cannot be"
    return None


class ImageBuilder:
    """Images and containers in a temporary directory."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self._env = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
        self._buildah = [
            "buildah",
            "--storage-driver=vfs",
            "--root",
            f"{top}/storage",
            "--runroot",
            f"{top}/run",
        ]

    def run_buildah(self, *arguments: str | Path) -> str:
        """Return the output of a buildah command."""
        return _run_command([*self._buildah, *map(str, arguments)], env=self._env)

    def buildah_command(self, *arguments: str) -> tuple[list[str], dict[str, str]]:
        """Return the command line and the environment of a buildah command."""
        return [*self._buildah, *arguments], self._env

    def build_base(self) -> dict[str, str]:
        """Build the base image; return its Python's values of the requirement markers (PEP 508)."""
        site, release = _debian_mirror()
        tree = self.top / "base"
        _run_command(
            [
                *("debootstrap", "--variant=minbase"),
                *("--include=python3,python3-venv", release, str(tree), site),
            ]
        )
        for unwanted in UNWANTED:
            shutil.rmtree(tree / unwanted, ignore_errors=True)
        markers = json.loads(_run_command(["chroot", str(tree), "python3", "-c", MARKERS]))
        made = self.run_buildah("from", "scratch").strip()
        self.run_buildah("add", "--quiet", made, tree, "/")
        self.run_buildah("commit", "--quiet", made, "localhost/base")
        self.run_buildah("rm", made)
        shutil.rmtree(tree)
        return dict(markers)

    def build(self) -> None:
        """Build the image from the Dockerfile."""
        markers = self.build_base()
        wheels = self.top / "wheels"
        wanted = self.top / "wanted.txt"
        wanted.write_text(requirements_for(markers, (ROOT / "requirements.lock").read_text()))
        _run_command(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
                *("--only-binary", ":all:", "--python-version", markers["python_version"]),
                *("--require-hashes", "-r", str(wanted), "-d", str(wheels)),
            ]
        )
        arguments = {"BASE": "localhost/base", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels"}
        given = [part for item in arguments.items() for part in ("--build-arg", "=".join(item))]
        self.run_buildah(
            *("build", "--quiet", "--format=docker", "--layers=false", "--pull-never"),
            *given,
            *("--volume", f"{wheels}:/wheels:ro", "--tag", "campaignd", ROOT),
        )

    def size_of(self, name: str = "localhost/campaignd") -> str:
        """Return the size of an image, as buildah reports it."""
        listed = json.loads(self.run_buildah("images", "--json"))
        return next(str(image["size"]) for image in listed if f"{name}:latest" in image["names"])

    def image_configuration(self) -> dict[str, object]:
        """Return the configuration of the image."""
        inspected = json.loads(self.run_buildah("inspect", "--type", "image", "campaignd"))
        return dict(inspected["Docker"]["config"])

    @contextmanager
    def mounted_container(self) -> Iterator[tuple[str, Path]]:
        """Yield a container's name and the path of its root file system."""
        name = self.run_buildah("from", "--pull-never", "campaignd").strip()
        try:
            yield name, Path(self.run_buildah("mount", name).strip())
        finally:
            self.run_buildah("umount", name)
            self.run_buildah("rm", name)


def requirements_for(markers: Mapping[str, str], lock: str) -> str:
    """Return the lines of a lock file that apply to another Python, by its marker values."""
    wanted: list[str] = []
    holds = True
    for line in lock.splitlines(keepends=True):
        if line[:1].isalnum():
            requirement, _, marker = line.rstrip("\\\n ").partition(" ; ")
            holds = not marker or Marker(marker).evaluate(dict(markers))
            line = f"{requirement} \\\n"
        if holds:
            wanted.append(line)
    return "".join(wanted)


@contextmanager
def image_builder() -> Iterator[ImageBuilder]:
    """Yield a place for images."""
    top = Path(tempfile.mkdtemp(prefix="campaignd-image-"))
    top.chmod(0o755)
    try:
        yield ImageBuilder(top)
    finally:
        shutil.rmtree(top, ignore_errors=True)


def _debian_mirror() -> tuple[str, str]:
    """Return the mirror and the name of this machine's Debian release."""
    for line in sorted(set(_run_command(INDEX).splitlines())):
        site, release, component = line.split()
        if component == "main" and "-" not in release:
            return site, release
    raise RuntimeError("apt has no release to make a base from")


def _run_command(command: Sequence[str], env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stdout + done.stderr)[-3000:]
        raise RuntimeError(f"{' '.join(command[:6])} ...: {done.returncode}\n{said}")
    return done.stdout


if __name__ == "__main__":
    if (reason := why_no_images()) is not None:
        print(f"no image: {reason}")
        sys.exit(0 if "--may-skip" in sys.argv else 1)
    with image_builder() as made, contextlib.suppress(KeyboardInterrupt):
        made.build()
        print(f"image size: {made.size_of()}, of it the base: {made.size_of('localhost/base')}")
