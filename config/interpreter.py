"""Whether a service can start the interpreter of this environment.

The units have `ProtectHome=yes`, as most services should: a Python that a user installed at home,
by pyenv or uv, is hidden from them. As a program, this module prints the warning.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
"""What `ProtectHome=yes` hides."""
_MANAGED_BY_SYSTEMD = Path("/run/systemd/system")


def interpreter_warning() -> str | None:
    """Return why the units of systemd/ cannot start this interpreter; None if they can.

    There is no warning on a machine without systemd, nor for an environment that is itself in a
    home directory, from which no service is run.
    """
    if not _MANAGED_BY_SYSTEMD.is_dir() or is_hidden(Path(sys.prefix)):
        return None
    return hidden_interpreter((os.path.realpath(sys.executable), sys.base_prefix))


def hidden_interpreter(paths: Iterable[str]) -> str | None:
    """Return a warning that names the first of the paths that a service cannot reach."""
    for path in paths:
        if is_hidden(Path(path)):
            return (
                f"{path} is in a home directory, which the units hide (ProtectHome=yes):"
                " the service cannot start it; make install PYTHON=/usr/bin/python3"
            )
    return None


def is_hidden(path: Path) -> bool:
    """Return whether a path is in a home directory."""
    return any(path.is_relative_to(home) for home in HOMES)


if __name__ == "__main__":
    if warning := interpreter_warning():
        print(f"warning: {warning}", file=sys.stderr)
