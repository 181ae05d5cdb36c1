"""The commands, one module for each; `daemon.cli.lazy_group` has the table of them."""
