"""The command line: the console script `campaignd`, and `python -m campaignd`."""

import sys
from typing import NoReturn

from daemon.cli.early_signals import handle_early_signals
from daemon.runtime.garbage import kept_from_collection


def main() -> NoReturn:
    """Run the command that the arguments name, and exit with its code."""
    handle_early_signals(sys.argv[1:])
    # Imported here: a signal may arrive during the import.
    with kept_from_collection():
        from daemon.cli.main import main as run_command

    run_command()


if __name__ == "__main__":
    main()
