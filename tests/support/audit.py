"""Asks pip-audit for known vulnerabilities of the locked packages.

As a program, this module exits with 1 if there is one. Without a database that can be reached, it
reports that nothing was audited and exits with 0.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
UNREACHABLE = ("your network may be blocking", "ServiceError", "ConnectionError", "timed out")
"""Texts of pip-audit's errors when its database does not answer."""
LONGEST_S = 120.0
"""Seconds for the audit; a firewall that drops packets makes each package wait for a time-out."""


def main() -> int:
    """Audit requirements.lock; print the result and return the exit code."""
    command = [
        *(Path(sys.executable).with_name("pip-audit"), "--requirement", "requirements.lock"),
        *("--disable-pip", "--progress-spinner", "off", "--format", "json"),
    ]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_S, check=False
        )
    except subprocess.TimeoutExpired:
        code, lines = summarise_audit("", "timed out")
    else:
        code, lines = summarise_audit(done.stdout, done.stderr)
    print("\n".join(lines))
    return code


def summarise_audit(output: str, errors: str) -> tuple[int, list[str]]:
    """Return the exit code and the lines to print, from the two outputs of pip-audit."""
    try:
        packages: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except ValueError:
        if any(text in errors for text in UNREACHABLE):
            return 0, ["audit: skipped: the vulnerability database cannot be reached"]
        return 1, [f"audit: pip-audit failed: {errors.strip()}"]
    lines = [
        f"audit: {package['name']} {package['version']}: {found['id']}"
        f" (fixed in {', '.join(found['fix_versions']) or 'no release yet'})"
        for package in packages
        for found in package.get("vulns", [])
    ]
    code = 1 if lines else 0
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    if unknown:
        lines.append(f"audit: skipped {len(unknown)} packages that the database does not know")
    lines.append(f"audit: {len(packages) - len(unknown)} of {len(packages)} packages audited")
    return code, lines


if __name__ == "__main__":
    sys.exit(main())
