"""campaignd: a daemon that carries out campaigns when they are due.

The public Python interface is `campaignd.plugin`, for targets of other packages. The program itself
is in the packages `daemon`, `storage` and `config`. A wheel carries these three inside this package
(see `pyproject.toml`), so that an installation has one top-level name; importing `campaignd` makes
the three importable. In a checkout they are beside this package.
"""

import sys
from pathlib import Path

__version__ = "0.1.0"

_PACKAGES = Path(__file__).with_name("_packages")

if _PACKAGES.is_dir():
    # First, because `daemon` and `config` are names that other distributions use as well.
    sys.path.insert(0, str(_PACKAGES))
