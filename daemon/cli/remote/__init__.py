"""The commands through the HTTP API of a server: another implementation of `daemon.cli.client`."""
