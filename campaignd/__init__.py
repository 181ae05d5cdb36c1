"""campaignd: a daemon that carries out campaigns when they are due.

The public Python interface is `campaignd.plugin`, for targets of other packages. The program itself
is in the packages `daemon`, `storage` and `config`. A wheel carries these three inside this package
(see `pyproject.toml`), so that an installation has one top-level name; importing `campaignd` makes
the three importable. In a checkout they are beside this package.

Another distribution may have a package of such a name, as python-daemon has `daemon`. Both can be
installed together, and each program imports its own. Only one process cannot use both.
"""

import sys
from pathlib import Path

__version__ = "0.1.0"

_PACKAGES = Path(__file__).with_name("_packages")

if _PACKAGES.is_dir():
    for _name in ("daemon", "storage", "config"):
        _file = getattr(sys.modules.get(_name), "__file__", None)
        if _name in sys.modules and not str(_file).startswith(str(_PACKAGES)):
            raise ImportError(
                f"campaignd has a package named {_name}, and this process has imported another one"
                f" of that name ({_file}); it cannot use both"
            )
    # First, because other distributions, and files beside a script, use these names as well.
    sys.path.insert(0, str(_PACKAGES))
