"""The command line: the console script `campaignd`, and `python -m campaignd`."""

from daemon.cli.main import main

if __name__ == "__main__":
    main()
