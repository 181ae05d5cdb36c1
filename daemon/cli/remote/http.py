"""Requests to a server's HTTP API: one connection, JSON, and errors as those of the commands.

By the standard library: a command makes a few requests, one after the other, and aiohttp takes
longer to import than they take.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit
from uuid import uuid4

from config.servers import ServerAccess
from daemon.domain.errors import (
    CampaigndError,
    Conflict,
    InvalidInput,
    NotFound,
    PreconditionFailed,
    Refused,
    Unavailable,
)

_ERRORS: dict[int, type[CampaigndError]] = {
    404: NotFound,
    409: Conflict,
    412: PreconditionFailed,
    503: Unavailable,
}
_UNREACHABLE = 3
"""Exit code, as for a database that cannot be reached."""


class ServerUnreachable(Unavailable):
    """The server cannot be reached"""

    exit_code = _UNREACHABLE


class Answer(NamedTuple):
    """The body of a response, and the entity tag of what it describes."""

    body: dict[str, Any]
    etag: str | None


class HttpApi:
    """The API of one server.

    Args:
        server: its URL, and the key.
        timeout: seconds that a request may take.
    """

    def __init__(self, server: ServerAccess, timeout: float) -> None:
        self._server = server
        parts = urlsplit(server.url)
        self._prefix = f"{parts.path}/api/v1"
        host = parts.hostname or ""
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context()
            self._connection = http.client.HTTPSConnection(
                host, parts.port, timeout=timeout, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(host, parts.port, timeout=timeout)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def get(self, *path: object, **query: object) -> Answer:
        """Return what the server answers to a GET; parameters that are None are left out."""
        given = {name: value for name, value in query.items() if value is not None}
        return self._request("GET", path, query=given)

    def send(
        self,
        method: str,
        *path: object,
        body: object = None,
        if_match: str | None = None,
    ) -> Answer:
        """Return the answer to a request that changes something; a repetition does not repeat it.

        Raises:
            CampaigndError: the server refused it, with the reason; or it cannot be reached.
        """
        headers = {"Idempotency-Key": str(uuid4())}
        if if_match is not None:
            headers["If-Match"] = if_match
        return self._request(method, path, body=body, headers=headers)

    def _request(
        self,
        method: str,
        path: tuple[object, ...],
        *,
        query: Mapping[str, object] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        where = "/".join([self._prefix, *(quote(str(part), safe="") for part in path)])
        if query:
            where += f"?{urlencode({name: str(value) for name, value in query.items()})}"
        sent = {
            "Authorization": f"Bearer {self._server.key}",
            "Accept": "application/json",
            **(headers or {}),
        }
        text = None
        if body is not None:
            text = json.dumps(body, allow_nan=False).encode()
            sent["Content-Type"] = "application/json"
        try:
            self._connection.request(method, where, text, sent)
            response = self._connection.getresponse()
            raw = response.read()
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise ServerUnreachable(
                f"{self._server.url}: {reason}", hint="is the daemon running, and the URL right?"
            ) from None
        try:
            value = json.loads(raw) if raw else {}
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise ServerUnreachable(
                f"{self._server.url} answers {response.status} without JSON",
                hint="is this a campaignd?",
            )
        if response.status >= 400:
            raise _error(response.status, value)
        return Answer(value, response.headers.get("ETag"))


def _error(status: int, problem: Mapping[str, Any]) -> CampaigndError:
    """Return the error of a response, with the server's own words."""
    message = str(problem.get("message") or f"HTTP {status}")
    detail = str(problem.get("detail") or message)
    kind = _ERRORS.get(status)
    if kind is not None:
        return kind(detail, message=message)
    if status in (401, 403):
        return Refused(f"{message}: {detail}", status=status, hint="--key-file names the API key")
    return InvalidInput(status, message, detail)
