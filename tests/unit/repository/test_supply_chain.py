"""NOTICE names what an installation contains, and the audit reports what it could not ask."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support import notice
from tests.support.audit import summarise_audit

ROOT = Path(__file__).parents[3]


def test_notice_names_each_package_with_its_licence() -> None:
    """The file is that of the lock, up to packages that only other interpreters need."""
    written = (ROOT / "NOTICE").read_text("utf-8")
    assert written.startswith(notice.HEAD)
    assert written.endswith(notice.INSIDE)
    listed = written.removeprefix(notice.HEAD).removesuffix(notice.INSIDE).splitlines()
    assert set(notice.notice_rows()) <= set(listed), "run: make notice"
    locked = set(re.findall(r"^(\S+==\S+)", (ROOT / "requirements.lock").read_text(), re.M))
    assert {"==".join(row.split()[:2]) for row in listed} <= locked, "run: make notice"


def test_an_installation_and_the_image_are_without_the_same_build_tools() -> None:
    (builders,) = re.findall(r"^BUILDERS := (.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert f"{builders} \\\n" in (ROOT / "Dockerfile").read_text()
    assert not set(builders.split()) & notice.required_packages().keys()


KNOWN = {"name": "a", "version": "1", "vulns": []}
UNKNOWN = {"name": "b", "version": "2", "skip_reason": "not found"}
VULNERABLE = {"name": "c", "version": "3", "vulns": [{"id": "CVE-1", "fix_versions": ["3.1"]}]}


@pytest.mark.parametrize(
    ("packages", "code", "lines"),
    [
        ([KNOWN], 0, ["audit: 1 of 1 packages audited"]),
        (
            [KNOWN, UNKNOWN],
            0,
            [
                "audit: skipped 1 packages that the database does not know",
                "audit: 1 of 2 packages audited",
            ],
        ),
        (
            [VULNERABLE],
            1,
            ["audit: c 3: CVE-1 (fixed in 3.1)", "audit: 1 of 1 packages audited"],
        ),
    ],
)
def test_the_audit_fails_for_known_vulnerabilities_only(
    packages: list[object], code: int, lines: list[str]
) -> None:
    assert summarise_audit(json.dumps({"dependencies": packages}), "") == (code, lines)


def test_the_audit_is_skipped_without_a_database() -> None:
    code, (line,) = summarise_audit("", "ERROR: Tip: your network may be blocking this service.")
    assert code == 0
    assert "cannot be reached" in line
    assert summarise_audit("", "usage: pip-audit")[0] == 1
