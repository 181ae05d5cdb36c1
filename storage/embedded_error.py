"""The error of the embedded server, apart so that its parts can share it."""

from __future__ import annotations

from storage.errors import StorageError


class EmbeddedError(StorageError):
    """The embedded PostgreSQL can not be had"""

    exit_code = 3
